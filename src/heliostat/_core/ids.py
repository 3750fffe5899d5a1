"""Identifiers: 16 bytes, unique in a session, with a short repr. Knows nothing of what they name."""

from __future__ import annotations

import itertools
import os


class _ID(bytes):
    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()[:8]}..{self.hex()[-8:]})"

    __str__ = __repr__


class ObjectID(_ID):
    """Names a value that may not exist yet."""

    __slots__ = ()


class TaskID(_ID):
    """Names one submitted task; its first result has the same bytes."""

    __slots__ = ()


class ActorID(_ID):
    """Names an actor through all of its restarts."""

    __slots__ = ()


class NodeID(_ID):
    """Names a machine."""

    __slots__ = ()


class PlacementGroupID(_ID):
    """Names a reservation of resources."""

    __slots__ = ()


SIZE = 16
_PREFIX = os.urandom(7)
_COUNTER = itertools.count(1)


def _reseed() -> None:
    """A forked process must not repeat its parent's identifiers."""
    global _PREFIX, _COUNTER
    _PREFIX = os.urandom(7)
    _COUNTER = itertools.count(1)


os.register_at_fork(after_in_child=_reseed)


def fresh() -> bytes:
    """16 new bytes: 7 random ones of this process, 5 of a counter, 4 zeros.

    The last four bytes number the results of one task (see `nth`).

    Example:
        >>> len(fresh()), fresh() != fresh()
        (16, True)
    """
    return _PREFIX + next(_COUNTER).to_bytes(5, "big") + b"\0\0\0\0"


def nth(first: bytes, index: int) -> bytes:
    """The identifier of result `index` of the task whose first result is `first`.

    Example:
        >>> nth(bytes(16), 0) == bytes(16), nth(bytes(16), 258)[-4:]
        (True, b'\\x00\\x00\\x01\\x02')
    """
    return first[:12] + index.to_bytes(4, "big")
