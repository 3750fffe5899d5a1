"""Public home of what concerns actors."""

from heliostat._core.actors import ActorClass, ActorHandle, ActorMethod, exit_actor, method
from heliostat._core.api import list_named_actors

__all__ = [
    "ActorClass",
    "ActorHandle",
    "ActorMethod",
    "exit_actor",
    "list_named_actors",
    "method",
]
