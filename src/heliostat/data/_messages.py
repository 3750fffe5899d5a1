"""What is said to a Pipeline and what it says: events and commands, as NamedTuples."""

from typing import NamedTuple, TypeAlias

import pyarrow as pa

from heliostat.data._optimize import Item
from heliostat.data.block import Bundle

# -- events -----------------------------------------------------------------------------------


class Wanted(NamedTuple):
    """The consumer takes this many blocks more."""

    blocks: int


class BlockReady(NamedTuple):
    """A task finished and these are its blocks. A stream has `more`: the same input is run again."""

    stage: int
    task: int
    attempt: int
    bundles: tuple[Bundle, ...]
    busy_s: float = 0.0
    failed: int = 0
    more: bool = False


class TaskFailed(NamedTuple):
    """A task raised, or its worker died (`crashed`)."""

    stage: int
    task: int
    attempt: int
    error: BaseException
    crashed: bool


class ActorReady(NamedTuple):
    """An actor has built the user's object and takes work."""

    stage: int
    actor: int


class ActorLost(NamedTuple):
    """An actor died, or could not be built (then `crashed` is false)."""

    stage: int
    actor: int
    error: BaseException
    crashed: bool


Event: TypeAlias = Wanted | BlockReady | TaskFailed | ActorReady | ActorLost


# -- commands ---------------------------------------------------------------------------------


class Launch(NamedTuple):
    """Run the chain of the stage over these items."""

    stage: int
    task: int
    attempt: int
    items: tuple[Item, ...]
    actor: int | None


class Emit(NamedTuple):
    """Give this block to the consumer."""

    bundle: Bundle


class Cancel(NamedTuple):
    """Nobody wants what this task makes."""

    stage: int
    task: int
    attempt: int


class StartActor(NamedTuple):
    """One actor more for the pool of a stage."""

    stage: int
    actor: int


class StopActor(NamedTuple):
    """The pool has no more work for this actor."""

    stage: int
    actor: int


class Finish(NamedTuple):
    """All blocks have been given. The schema is that of blocks without rows, if any was seen."""

    schema: pa.Schema | None


class Fail(NamedTuple):
    """The execution is over with this error."""

    error: BaseException


class Condemn(NamedTuple):
    """This row kills the process that works on it; it is left out."""

    stage: int
    items: tuple[Item, ...]
    error: BaseException


class Omit(NamedTuple):
    """A task failed, and what it would have made is left out."""

    stage: int
    error: BaseException


Command: TypeAlias = (
    Condemn | Omit | Launch | Emit | Cancel | StartActor | StopActor | Finish | Fail
)
