"""ObjectRef and ObjectRefGenerator: counted, awaitable, picklable handles to values that may not exist yet.

They know the engine only through two functions set by `_core.session`: how a reference that
arrives in a pickle is adopted, and which engine answers.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from heliostat._core.ids import JobID, ObjectID, TaskID, nth

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

    from heliostat._core.engine import Engine

T = TypeVar("T")


class _Collector(threading.local):
    """Where references that are being pickled announce themselves."""

    refs: list[bytes] | None = None


COLLECTOR = _Collector()


def current_engine() -> Engine:
    """The engine of this process; replaced by `_core.session` when that loads."""
    raise RuntimeError("heliostat is not imported in this process; import heliostat first")


def _no_drop(id_: bytes) -> None:
    """For references whose engine does not count."""


class ObjectRef(Generic[T]):
    """A handle to a value that may not exist yet.

    Hold it, pass it to remote functions (a top-level argument arrives as its value, a nested
    one as a reference), `await` it, or give it to `heliostat.get`.

    Example:
        >>> import heliostat as ray
        >>> ref = ray.put(3)
        >>> ray.get(ref)
        3
    """

    __slots__ = ("__weakref__", "_drop", "_id")

    def __init__(self, id_: bytes, drop: Callable[[bytes], object] = _no_drop) -> None:
        self._id = id_
        self._drop = drop

    def __del__(self) -> None:
        self._drop(self._id)

    def hex(self) -> str:
        """The identifier in hexadecimal."""
        return self._id.hex()

    def binary(self) -> bytes:
        """The identifier as 16 bytes."""
        return bytes(self._id)

    @classmethod
    def from_binary(cls, id_bytes: bytes) -> ObjectRef[Any]:
        """A reference to the object of this identifier, which somebody else keeps alive meanwhile.

        Raises:
            ValueError: If these are not as many bytes as an identifier has.

        Example:
            >>> import heliostat as ray
            >>> kept = ray.put(3)
            >>> ray.get(ray.ObjectRef.from_binary(kept.binary()))
            3
        """
        return _adopt(ObjectID.from_binary(id_bytes))

    @classmethod
    def from_hex(cls, hex_id: str) -> ObjectRef[Any]:
        """As `from_binary`, from what `hex()` wrote."""
        return _adopt(ObjectID.from_hex(hex_id))

    @classmethod
    def from_random(cls) -> ObjectRef[Any]:
        """A reference to an object that is not there."""
        return ObjectRef(ObjectID.from_random())

    @classmethod
    def nil(cls) -> ObjectRef[Any]:
        """A reference to nothing."""
        return ObjectRef(ObjectID.nil())

    @classmethod
    def size(cls) -> int:
        """How many bytes an identifier has."""
        return ObjectID.size()

    def is_nil(self) -> bool:
        """Whether it refers to nothing."""
        return ObjectID(self._id).is_nil()

    def tensor_transport(self) -> str | None:
        """What carries its tensors besides the object store: nothing."""
        return None

    def call_site(self) -> str:
        """Where it was made: empty, for that is not written down."""
        return ""

    def task_id(self) -> TaskID:
        """The task that makes the value; for `put`, an identifier of its own."""
        return TaskID(nth(self._id, 0))

    def job_id(self) -> JobID:
        """The session's id."""
        return JobID.from_hex(current_engine().describe().job_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectRef) and self._id == other._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"ObjectRef({self._id.hex()})"

    def __reduce__(self) -> tuple[object, ...]:
        refs = COLLECTOR.refs
        if refs is None:
            # Pickled by the user's own hand: nobody can count it, so it lives until shutdown.
            current_engine().pin(ObjectID(self._id))
        else:
            refs.append(self._id)
        return _adopt, (bytes(self._id),)

    def future(self) -> concurrent.futures.Future[T]:
        """A `concurrent.futures.Future` that completes with the value or its error.

        Example:
            >>> import heliostat as ray
            >>> ray.put(3).future().result(timeout=10)
            3
        """
        from heliostat._core.futures import future_of  # noqa: PLC0415 - asyncio is slow to load

        return future_of(current_engine(), self)

    def as_future(self) -> asyncio.Future[T]:
        """An `asyncio.Future` of the running loop that completes with the value or its error.

        In coroutines `await ref` says the same.

        Example:
            >>> import asyncio
            >>> import heliostat as ray
            >>> async def three(): return await ray.put(3).as_future()
            >>> asyncio.run(three())
            3
        """
        from heliostat._core.futures import awaitable  # noqa: PLC0415 - asyncio is slow to load

        return awaitable(self.future())

    def __await__(self) -> Generator[Any, None, T]:
        from heliostat._core.futures import value_of  # noqa: PLC0415 - asyncio is slow to load

        return value_of(current_engine(), self).__await__()


def _adopt(id_: bytes) -> ObjectRef[Any]:
    return current_engine().adopt(ObjectID(id_))


class ObjectRefGenerator(Generic[T]):
    """The references that a streaming task yields, as they come.

    Iterate over it (or `async for`); each item is an ObjectRef whose value is there already.
    An error in the task is raised by `get` of the last item.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... def count(n):
        ...     yield from range(n)
        >>> [ray.get(ref) for ref in count.remote(3)]
        [0, 1, 2]
    """

    __slots__ = ("_next", "_peeked", "_ref")

    def __init__(self, ref: ObjectRef[Any]) -> None:
        self._ref = ref
        self._next = 0
        self._peeked: ObjectRef[T] | None = None  # looked at and held, and still to be given out

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        return self

    def __next__(self) -> ObjectRef[T]:
        item = self._take(None)
        if item is None:
            raise StopIteration
        return item

    def next_ready(self) -> bool:
        """Whether `next` would give an item without waiting; False when there is none any more."""
        return self._arrived() and self._peek() is not None

    def is_finished(self) -> bool:
        """Whether the task has ended and every item was taken."""
        return self._arrived() and self._peek() is None

    def _arrived(self) -> bool:
        return current_engine().wait([self._upcoming_id()], count=1, timeout_s=0) == [0]

    def _peek(self) -> ObjectRef[T] | None:
        if self._peeked is None:
            self._peeked = current_engine().next_item(self._ref, self._next, timeout_s=0)
        return self._peeked

    def upcoming(self) -> ObjectRef[Any]:
        """A reference to wait for, but not to get: ready when `next` would not wait."""
        return ObjectRef(self._upcoming_id())

    def _upcoming_id(self) -> bytes:
        return nth(self._ref._id, self._next + 1)

    def _take(self, timeout_s: float | None) -> ObjectRef[T] | None:
        item, self._peeked = self._peeked, None
        if item is None:
            item = current_engine().next_item(self._ref, self._next, timeout_s=timeout_s)
        if item is not None:
            self._next += 1
        return item

    def __aiter__(self) -> AsyncIterator[ObjectRef[T]]:
        return self

    async def __anext__(self) -> ObjectRef[T]:
        from heliostat._core.futures import arrival  # noqa: PLC0415 - asyncio is slow to load

        engine, stream, index = current_engine(), self._ref, self._next
        await arrival(lambda wake: engine.on_item(stream, index, wake))
        item = self._take(0)
        if item is None:
            raise StopAsyncIteration
        return item

    def completed(self) -> ObjectRef[Any]:
        """A reference that is ready when the task has ended."""
        return self._ref

    def __repr__(self) -> str:
        return f"ObjectRefGenerator({self._ref.hex()}, next={self._next})"

    def __reduce__(self) -> tuple[object, ...]:
        return _restore_generator, (self._ref, self._next, self._peeked)


def _restore_generator(
    ref: ObjectRef[Any], next_: int, peeked: ObjectRef[Any] | None
) -> ObjectRefGenerator[Any]:
    generator: ObjectRefGenerator[Any] = ObjectRefGenerator(ref)
    generator._next = next_
    generator._peeked = peeked
    return generator


def shape(refs: list[ObjectRef[Any]], num_returns: int | str) -> Any:
    """One reference, a list, None, or a generator: as `num_returns` says."""
    if num_returns == 1:
        return refs[0]
    if num_returns == "streaming":
        return ObjectRefGenerator(refs[0])
    return refs or None
