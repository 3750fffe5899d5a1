"""Values as Ray carries them, and what of Ray's stands behind each of our identifiers.

A value is a plain tuple: our pickle, its large buffers (which Ray keeps in shared memory and gives
back without a copy), and the references inside it, ours by number and Ray's beside them. Ray
counts its references; ours hold them alive, and a table that holds nothing finds them again.
"""

from __future__ import annotations

import pickle
import weakref
from collections.abc import Callable
from typing import Any

from heliostat._core import codec
from heliostat._core.codec import Encoded
from heliostat._core.ids import nth
from heliostat._core.outcomes import raisable
from heliostat._core.refs import ObjectRef
from heliostat.exceptions import RayError

VALUE, ERROR = 0, 1


class Buffer:
    """A large part of a value, which lies in shared memory; Ray's client server sends it on."""

    __slots__ = ("view",)

    def __init__(self, view: Any) -> None:
        self.view = view

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Buffer, (pickle.PickleBuffer(self.view),)


# (kind, pickle, buffers, ids, what Ray has behind each of them or None)
Packed = tuple[int, Any, tuple[Buffer, ...], tuple[bytes, ...], tuple[Any, ...]]


class Hold:
    """What Ray has behind an identifier; our references hold it, and it holds Ray's.

    Args:
        ready: Ray's reference that is ready when this is.
        ask: What makes that reference, once, when somebody wants to know; instead of it.
    """

    __slots__ = ("__weakref__", "_ask", "_ready")

    def __init__(self, ready: Any = None, ask: Callable[[], Any] | None = None) -> None:
        self._ready = ready
        self._ask = ask

    def __call__(self, id_: bytes) -> None:
        """A reference is gone: nothing to do, since it held this."""

    def waitable(self) -> Any:
        """What `ray.wait` and `ray.get` take."""
        if self._ready is None and self._ask is not None:
            self._ready = self._ask()
        return self._ready

    def carried(self) -> Any:
        """What travels inside values."""
        return self.waitable()


class ValueHold(Hold):
    """A value."""

    __slots__ = ()


class GoneHold(ValueHold):
    """What cannot be had any more, a value or an actor; the reference is to the error that says why."""

    __slots__ = ("error",)

    def __init__(self, ref: Any, error: RayError) -> None:
        super().__init__(ref)
        self.error = error


class ActorHold(Hold):
    """An actor; it is ready when its constructor is done and a call is answered."""

    __slots__ = ("handle",)

    def __init__(self, handle: Any) -> None:
        super().__init__(ask=lambda: handle.__ray_ready__.remote())
        self.handle = handle

    def carried(self) -> Any:
        """The handle."""
        return self.handle


class StreamHold(Hold):
    """A stream, in the process that asked for it; ready at its end. Its items are taken in order."""

    __slots__ = ("generator", "position")

    def __init__(self, generator: Any) -> None:
        super().__init__(ask=lambda: generator.completed())
        self.generator = generator
        self.position = 0


class GroupHold(Hold):
    """A placement group, which others find by its number; it is ready when a task in it has run."""

    __slots__ = ("group",)

    def __init__(self, group: Any, ask: Callable[[], Any]) -> None:
        super().__init__(ask=ask)
        self.group = group

    def carried(self) -> Any:
        """Nothing."""
        return None


class Holds:
    """Ours to Ray's, as this process knows them; `is_handle` knows an actor's handle of Ray's."""

    def __init__(self, is_handle: Callable[[Any], bool]) -> None:
        self._known: weakref.WeakValueDictionary[bytes, Hold] = weakref.WeakValueDictionary()
        self._is_handle = is_handle

    def find(self, id_: bytes) -> Hold | None:
        """What is behind an identifier, if this process knows it."""
        return self._known.get(id_)

    def stream_of(self, item: bytes) -> StreamHold | None:
        """The stream whose item this is to be."""
        hold = self._known.get(nth(item, 0))
        return hold if isinstance(hold, StreamHold) else None

    def add(self, id_: bytes, hold: Hold) -> ObjectRef[Any]:
        """A reference to something of Ray's, from now on found by this number."""
        id_ = bytes(id_)
        self._known[id_] = hold
        return ObjectRef(id_, hold)

    def pack(self, value: object, kind: int = VALUE) -> Packed:
        """A value as Ray carries it; as `codec.encode` raises."""
        return self.packed(codec.encode(value), kind)

    def packed(self, encoded: Encoded, kind: int = VALUE) -> Packed:
        """What is encoded already, as Ray carries it."""
        holds = [self._known.get(id_) for id_ in encoded.refs]
        theirs = tuple(None if hold is None else hold.carried() for hold in holds)
        buffers = tuple(map(Buffer, encoded.buffers))
        return kind, bytes(encoded.data), buffers, encoded.refs, theirs

    def unpack(self, packed: Packed) -> Any:
        """The value; raises if it is an error."""
        kind, data, buffers, ids, theirs = packed
        # Ours find Ray's by number while they are made, and hold them from then on.
        holds = [self._arrived(id_, real) for id_, real in zip(ids, theirs, strict=True)]
        value = pickle.loads(data, buffers=[buffer.view for buffer in buffers])
        del holds
        if kind == ERROR:
            raise raisable(value)
        return value

    def _arrived(self, id_: bytes, real: Any) -> Hold | None:
        hold = self._known.get(id_)
        if hold is None and real is not None:
            hold = ActorHold(real) if self._is_handle(real) else ValueHold(real)
            self._known[bytes(id_)] = hold
        return hold

    def clear(self) -> None:
        """Forget them: their session has ended."""
        self._known.clear()
