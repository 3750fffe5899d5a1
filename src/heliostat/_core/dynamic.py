"""num_returns="dynamic": one reference, whose value is a generator of the references of all items.

The engines see a task with one result. What runs is the user's function with a loop around it
that keeps each item; so this file knows no engine, and is loaded when somebody asks for it.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from heliostat._core.outcomes import task_error
from heliostat._core.refs import ObjectRef
from heliostat._core.session import current_engine
from heliostat._core.specs import Code

T = TypeVar("T")


class DynamicObjectRefGenerator(Generic[T]):
    """The references of the items of a generator that has ended; each is given out once.

    It is the value of a task with `num_returns="dynamic"`. `num_returns="streaming"`, the default
    of generator functions, yields references while the task runs.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote(num_returns="dynamic")
        ... def squares(n):
        ...     for i in range(n): yield i * i
        >>> items = ray.get(squares.remote(3))
        >>> len(items)
        3
        >>> [ray.get(ref) for ref in items]
        [0, 1, 4]
    """

    def __init__(self, refs: Iterable[ObjectRef[T]]) -> None:
        self._refs = deque(refs)

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        while self._refs:
            yield self._refs.popleft()

    def __len__(self) -> int:
        return len(self._refs)

    def __repr__(self) -> str:
        return f"DynamicObjectRefGenerator({len(self._refs)} left)"


class _Gathering:
    """A function that keeps the items of the user's generator function."""

    def __init__(self, code: Code) -> None:
        self._function = code.value
        self._name = code.name

    def __call__(self, *args: Any, **kwargs: Any) -> DynamicObjectRefGenerator[Any]:
        return gather(self._name, self._function(*args, **kwargs))


@functools.lru_cache(maxsize=256)
def gathering(code: Code) -> Code:
    """What to run instead of a generator function; the same for the same function."""
    return Code(_Gathering(code), code.name)


def gather(name: str, items: Any) -> DynamicObjectRefGenerator[Any]:
    """Keep each item; an error is kept as the last one.

    Raises:
        ValueError: For what yields nothing, and what yields to an event loop only.
    """
    if not isinstance(items, Iterable):
        raise ValueError(
            f'{name} has num_returns="dynamic", so it must be a generator, but it returned '
            f'{type(items).__name__}; use num_returns="streaming" for an async generator'
        )
    engine = current_engine()
    refs: list[ObjectRef[Any]] = []
    try:
        refs.extend(map(engine.put, items))
    except Exception as error:  # noqa: BLE001 - user code: its error is the last item
        refs.append(engine.put_error(task_error(name, error)))
    return DynamicObjectRefGenerator(refs)
