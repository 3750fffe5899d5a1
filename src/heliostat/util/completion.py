"""Results as they come: of references that are there, and of a function over many items."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import heliostat as ray

__all__ = ["as_completed", "map_unordered"]


def as_completed(
    refs: Sequence[Any], *, chunk_size: int = 10, yield_obj_refs: bool = False, **kwargs: Any
) -> Iterator[Any]:
    """Results in about the order in which they come.

    Args:
        refs: References to wait for.
        chunk_size: How many to wait for at a time; 1 gives each as soon as it is there.
        yield_obj_refs: Yield the references, whose values are there, instead of the values.
        kwargs: Arguments of `heliostat.wait` such as `timeout`, which is how many seconds to wait
            for a whole chunk before those that are there are given.

    Raises:
        ValueError: For a chunk_size below 1, or num_returns among kwargs.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... def double(x): return 2 * x
        >>> sorted(ray.util.as_completed([double.remote(n) for n in range(4)]))
        [0, 2, 4, 6]
    """
    _check(chunk_size, kwargs)
    return _completed(list(refs), chunk_size, yield_obj_refs, kwargs)


def _completed(
    refs: list[Any], chunk_size: int, yield_obj_refs: bool, kwargs: dict[str, Any]
) -> Iterator[Any]:
    while refs:
        ready, refs = ray.wait(refs, num_returns=min(chunk_size, len(refs)), **kwargs)
        yield from ready if yield_obj_refs else ray.get(ready)


def map_unordered(
    fn: Any,
    items: Iterable[Any],
    *,
    backpressure_size: int | None = 100,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
    **kwargs: Any,
) -> Iterator[Any]:
    """Call a remote function with each item; results in about the order in which they come.

    Args:
        fn: A remote function, or a method of an actor, of one argument.
        items: What to call it with; taken as they are needed, so they may be without end.
        backpressure_size: How many calls may run or wait at once; None for all.
        chunk_size, yield_obj_refs, kwargs: As for `as_completed`.

    Raises:
        ValueError: For a chunk_size or backpressure_size below 1.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... def double(x): return 2 * x
        >>> sorted(ray.util.map_unordered(double, range(4)))
        [0, 2, 4, 6]
    """
    _check(chunk_size, kwargs)
    if backpressure_size is not None and backpressure_size < 1:
        raise ValueError(f"backpressure_size must be >= 1, or None, got {backpressure_size}")
    return _mapped(fn, iter(items), backpressure_size, chunk_size, yield_obj_refs, kwargs)


def _mapped(
    fn: Any,
    items: Iterator[Any],
    most: int | None,
    chunk_size: int,
    yield_obj_refs: bool,
    kwargs: dict[str, Any],
) -> Iterator[Any]:
    refs: list[Any] = []
    while True:
        room = None if most is None else most - len(refs)
        refs.extend(fn.remote(item) for item in itertools.islice(items, room))
        if not refs:
            return
        ready, refs = ray.wait(refs, num_returns=min(chunk_size, len(refs)), **kwargs)
        yield from ready if yield_obj_refs else ray.get(ready)


def _check(chunk_size: int, kwargs: dict[str, Any]) -> None:
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be >= 1, got {chunk_size}")
    if "num_returns" in kwargs:
        raise ValueError("num_returns is given by chunk_size here; pass chunk_size=")
