"""A user's function that several threads of an actor want to call."""

import threading
from collections.abc import Callable, Iterator
from typing import Any


class InTurn:
    """Calls the function for one thread at a time."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self._lock = threading.Lock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it; what a generator gives is taken before the next thread has its turn."""
        with self._lock:
            result = self._fn(*args, **kwargs)
            return iter(list(result)) if isinstance(result, Iterator) else result
