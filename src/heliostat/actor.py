"""Public home of what concerns actors."""

from heliostat._core.actors import (
    ActorClass,
    ActorClassInheritanceException,
    ActorHandle,
    ActorMethod,
    ActorProxy,
    exit_actor,
    method,
)
from heliostat._core.api import list_named_actors

__all__ = [
    "ActorClass",
    "ActorClassInheritanceException",
    "ActorHandle",
    "ActorMethod",
    "ActorProxy",
    "exit_actor",
    "list_named_actors",
    "method",
]
