"""The events and messages about direct calls (see `direct`), as tuples with names."""

from __future__ import annotations

from typing import Any

from heliostat._engines.local.messages import Drops, Message, Value

# ---- events


class Dialled(Message):
    """A process has called an actor more than once, and would like a line to it."""

    proc: int
    actor: bytes


class Switched(Message):
    """A caller goes on by the line: what it calls next comes after what it called by the hub."""

    proc: int
    actor: bytes
    line: int
    times: int


class Exposed(Message):
    """A direct call that others may hear of from now on; `called` are the fields of a Called."""

    proc: int
    callee: int
    called: tuple[Any, ...]


class Lost(Message):
    """A direct call was not answered, and never will be: the callee is gone."""

    proc: int
    callee: int
    called: tuple[Any, ...]
    known: bool  # it was exposed before
    begun: bool  # it may have been


class Settled(Message):
    """A direct call has ended, and its result is for the hub to keep. Caller or callee says so."""

    proc: int
    caller: int
    task: bytes
    values: tuple[Value, ...]
    failure: int
    seconds: float
    drops: Drops


class Ended(Message):
    """Direct calls that have ended here, for the records; several together.

    A row is a task, its method, parent, seconds, time of the end and failure.
    """

    proc: int
    rows: tuple[tuple[bytes, str, bytes | None, float, float, int], ...]


# ---- from the hub to a worker


class LineIn(Message):
    """Another process may call this actor directly; the socket comes by the other way."""

    line: int
    caller: int


class LineOut(Message):
    """An actor may be called directly; the socket comes by the other way."""

    line: int
    actor: bytes
    callee: int


class Clear(Message):
    """All that the caller called by the hub before it switched so many times was sent."""

    line: int
    times: int


class LineDown(Message):
    """The process at the other end of a line is gone."""

    line: int
    actor: bytes


# ---- between two workers, on a line


class DirectCall(Message):
    """Call a method of the actor at the other end."""

    task: bytes
    method: str
    retry_on: Any
    call: Value
    group: str
    parent: bytes | None


class Hold(Message):
    """What follows comes after what was called by the hub; `Clear` tells when that is here."""

    times: int


class Result(Message):
    """What a direct call returned or raised."""

    task: bytes
    value: Value


class Referred(Message):
    """The hub has the result of this direct call."""

    task: bytes


WIRE: tuple[type[Any], ...] = (
    Dialled, Switched, Exposed, Lost, Settled, Ended, LineIn, LineOut, Clear, LineDown,
    DirectCall, Hold, Result, Referred,
)  # fmt: skip
