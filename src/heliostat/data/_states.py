"""What a Pipeline knows of its stages: tasks in flight, actors, blocks that wait. No decisions."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import pyarrow as pa

from heliostat.data._optimize import Item, Stage
from heliostat.data._plan import Here
from heliostat.data.block import Bundle

Phase: TypeAlias = Literal["open", "done"]


@dataclass(slots=True)
class Task:
    """One task in flight."""

    items: tuple[Item, ...]
    attempt: int
    actor: int | None
    rows: int
    size_bytes: int
    crashes: int = 0
    failures: int = 0
    search: "Search | None" = None


@dataclass(slots=True)
class Search:
    """A task whose worker died: its rows in parts, until the one that kills is found.

    Attributes:
        left: Parts that are still to be run, in order.
        done: What the parts before them have made.
    """

    left: list[tuple[Item, ...]] = field(default_factory=list)
    done: list[Bundle] = field(default_factory=list)


@dataclass(slots=True)
class Actor:
    """One actor of a pool."""

    phase: Literal["starting", "ready"] = "starting"
    tasks: set[int] = field(default_factory=set)


@dataclass(slots=True)
class StageState:
    """One stage in motion."""

    stage: Stage
    share: int
    slots: int
    phase: Phase = "open"
    source: deque[Item] = field(default_factory=deque)
    upstream: int = 0
    cut_rows: int = 0
    next_task: int = 0
    next_out: int = 0
    running: dict[int, Task] = field(default_factory=dict)
    retry: deque[tuple[int, Task]] = field(default_factory=deque)
    made: dict[int, tuple[Bundle, ...]] = field(default_factory=dict)
    ready: deque[Bundle] = field(default_factory=deque)
    actors: dict[int, Actor] = field(default_factory=dict)
    next_actor: int = 0
    empty: pa.Schema | None = None
    tasks: int = 0
    retries: int = 0
    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    busy_s: float = 0.0
    failed: int = 0
    story: deque[str] = field(default_factory=lambda: deque(maxlen=50))

    @property
    def held_bytes(self) -> int:
        """Blocks made and not taken yet, and what running tasks hold and are likely to make."""
        waiting = sum(bundle.size_bytes for bundle in self.ready)
        waiting += sum(bundle.size_bytes for made in self.made.values() for bundle in made)
        return waiting + self.cost(sum(task.size_bytes for task in self.running.values()))

    @property
    def idle(self) -> bool:
        """Nothing made, nothing in the making."""
        return not (self.running or self.retry or self.made or self.ready)

    def cost(self, size_bytes: int) -> int:
        """What a task over so many bytes is likely to hold: its input and its output."""
        if isinstance(self.stage.place, Here):
            return size_bytes
        grown = self.bytes_out / self.bytes_in if self.bytes_in else 1.0
        return int(size_bytes * (1.0 + grown))

    def enough_coming(self) -> bool:
        """Whether what is in flight will reach the limit, as far as one can tell."""
        if self.stage.limit is None:
            return False
        made = sum(bundle.rows for one in self.made.values() for bundle in one)
        due = sum(task.rows for task in self.running.values())
        if not self.stage.row_for_row:
            due = int(due * (self.rows_out / self.rows_in)) if self.rows_in else due
        return self.rows_out + made + due >= self.stage.limit


def halves(items: Sequence[Item]) -> tuple[tuple[Item, ...], tuple[Item, ...]] | None:
    """The input of a task in two; None if it is a single row, or not rows that are there."""
    bundles = [item for item in items if isinstance(item, Bundle)]
    rows = sum(item.rows for item in bundles)
    if len(bundles) < len(items) or rows < 2:
        return None
    first: list[Item] = []
    second: list[Item] = []
    room = rows // 2
    for item in bundles:
        here = min(room, item.rows)
        if here:
            first.append(item.view(0, here))
        if here < item.rows:
            second.append(item.view(here, item.rows - here))
        room -= here
    return tuple(first), tuple(second)
