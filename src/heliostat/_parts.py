"""Part: which rows are wanted of a kind that may have very many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from operator import itemgetter
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
    fresh = 0
    for item in reversed(ended):
        if id_of(item) == after:
            break
        fresh += 1
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
