"""Part: which rows are wanted of a kind that may have very many; and how many there were, of what is let go."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from operator import indexOf, itemgetter
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Part(NamedTuple):
    """Which rows are wanted.

    Attributes:
        start: How many to pass over; they are counted after the next two have chosen.
        most: How many at most.
        name: Only tasks with this in their name.
        state: Only tasks in this state.
        after: Only tasks that ended after the one with this identifier.
    """

    start: int = 0
    most: int = 100
    name: str = ""
    state: str = ""
    after: str = ""


def since(ended: Sequence[T], id_of: Callable[[T], object], after: object, most: int) -> list[T]:
    """The first that ended after the one with an identifier; of all, if that is not among them.

    Args:
        ended: What has ended, oldest first.
        id_of: The identifier of one.
        after: The identifier of the last one that is known.
        most: How many at most.

    Example:
        >>> since(["a", "b", "c"], str, "a", 1)
        ['b']
    """
    try:
        fresh = indexOf(map(id_of, reversed(ended)), after)
    except ValueError:  # it was let go
        fresh = len(ended)
    start = len(ended) - fresh
    return list(islice(ended, start, start + most))


def ended_rows(rows: Sequence[dict[str, Any]], part: Part | None) -> list[dict[str, Any]]:
    """The same for rows of tasks.

    Example:
        >>> ended_rows([{"task_id": "a"}, {"task_id": "b"}], Part(after="a"))
        [{'task_id': 'b'}]
    """
    part = part or Part()
    return since(rows, itemgetter("task_id"), part.after, part.most)


class Counted(deque[T]):
    """The newest of what has ended, as a deque with a `maxlen`, and how many there were of each kind.

    Counting is put off until as many have come as are kept, so that one more costs a tenth of a
    microsecond. Who does not ask pays nothing: it takes the place of a deque when somebody does.

    Args:
        rows: What is kept already; it counts, too.
        kind_of: The kind of one.
        maxlen: How many are kept.

    Example:
        >>> ended = Counted(["a"], str, 2)
        >>> for word in ["b", "a", "a", "b"]:
        ...     ended.append(word)
        >>> list(ended), ended.counts()
        (['a', 'b'], {'b': 2, 'a': 3})
    """

    __slots__ = ("_counts", "_fresh", "_kind_of", "_most")

    def __init__(self, rows: Iterable[T], kind_of: Callable[[T], Any], maxlen: int) -> None:
        super().__init__(rows, maxlen)
        self._kind_of = kind_of
        self._most = maxlen
        self._counts: Counter[Any] = Counter()
        self._fresh = len(self)

    def append(self, row: T, _append: Any = deque.append) -> None:  # looked up once: it is hot
        """Keep one more; the oldest goes when there are too many."""
        fresh = self._fresh
        if fresh == self._most:
            self.counts()
            fresh = 0
        self._fresh = fresh + 1
        _append(self, row)

    def counts(self) -> dict[Any, int]:
        """How many there were of each kind; of those that were cleared away uncounted, none."""
        self._counts.update(map(self._kind_of, islice(reversed(self), self._fresh)))
        self._fresh = 0
        return dict(self._counts)


def counted(
    rows: deque[T], kind_of: Callable[[T], Any], part: Part | None
) -> tuple[deque[T], dict[Any, int]]:
    """The same rows, counted from now on, and how many there were; no longer, for a part of none.

    Example:
        >>> ended, counts = counted(deque("ab", 5), str, None)
        >>> counts, counted(ended, str, Part(most=0))
        ({'b': 1, 'a': 1}, (deque(['a', 'b'], maxlen=5), {}))
    """
    if part is not None and part.most == 0:
        return deque(rows, rows.maxlen), {}
    own = rows if isinstance(rows, Counted) else Counted(rows, kind_of, rows.maxlen or 0)
    return own, own.counts()
