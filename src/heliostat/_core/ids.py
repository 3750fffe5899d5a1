"""Identifiers: 16 bytes, unique in a session, with a short repr. Knows nothing of what they name."""

from __future__ import annotations

import itertools
import os
from typing import Self


class _ID(bytes):
    __slots__ = ()

    @classmethod
    def from_binary(cls, id_bytes: bytes) -> Self:
        """The identifier with these bytes.

        Raises:
            ValueError: If they are not as many as an identifier has.
        """
        if len(id_bytes) != SIZE:
            raise ValueError(f"{cls.__name__} has {SIZE} bytes, got {len(id_bytes)}: {id_bytes!r}")
        return cls(id_bytes)

    @classmethod
    def from_hex(cls, hex_id: str) -> Self:
        """The identifier that `hex()` wrote."""
        return cls.from_binary(bytes.fromhex(hex_id))

    @classmethod
    def from_random(cls) -> Self:
        """A new one, which names nothing yet."""
        return cls(fresh())

    @classmethod
    def nil(cls) -> Self:
        """The one that names nothing."""
        return cls(_NIL)

    @classmethod
    def size(cls) -> int:
        """How many bytes an identifier has."""
        return SIZE

    def is_nil(self) -> bool:
        """Whether it names nothing."""
        return self == _NIL

    def binary(self) -> bytes:
        """Its bytes."""
        return bytes(self)

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


class UniqueID(_ID):
    """Names anything."""

    __slots__ = ()


class JobID(_ID):
    """Names a session."""

    __slots__ = ()


class WorkerID(UniqueID):
    """Names a process."""

    __slots__ = ()


class FunctionID(UniqueID):
    """Names a function that runs elsewhere."""

    __slots__ = ()


class ActorClassID(UniqueID):
    """Names a class whose instances are actors."""

    __slots__ = ()


class PlacementGroupID(_ID):
    """Names a reservation of resources."""

    __slots__ = ()


SIZE = 16
_NIL = b"\xff" * SIZE
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
