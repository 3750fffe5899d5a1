"""What a Pipeline knows of its stages: tasks in flight, actors, blocks that wait. No decisions."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import pyarrow as pa

from heliostat.data._optimize import Item, Stage
from heliostat.data._plan import Here
from heliostat.data._stats import StageStats
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
    done: list["Bundle | Nulls"] = field(default_factory=list)

    def lose(self, items: Sequence[Item]) -> None:
        """Have nulls in the place of this row."""
        (row,) = items
        assert isinstance(row, Bundle)
        self.done.append(Nulls(1, row.schema))


@dataclass(frozen=True, slots=True)
class Nulls:
    """Rows of nulls of a task of which no row has come through, so that it knows no columns.

    Attributes:
        rows: How many.
        taken: The columns that the rows came with: those of the nulls if nobody ever knows better.
    """

    rows: int
    taken: pa.Schema
    size_bytes = 0

    def of(self, columns: pa.Schema | None) -> Bundle:
        """The rows, with these columns."""
        fields = self.taken if columns is None else columns
        table = pa.Table.from_arrays(
            [pa.nulls(self.rows, one.type) for one in fields], schema=fields
        )
        return Bundle.of(table)


def unless_all_failed(bundles: Sequence[Bundle], failed: int) -> tuple[Bundle | Nulls, ...]:
    """What a task has made where failing rows become nulls; Nulls if all of them failed."""
    rows = sum(one.rows for one in bundles)
    return (Nulls(rows, bundles[0].schema),) if rows and rows == failed else tuple(bundles)


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
    made: dict[int, tuple[Bundle | Nulls, ...]] = field(default_factory=dict)
    columns: pa.Schema | None = None
    ready: deque[Bundle] = field(default_factory=deque)
    actors: dict[int, Actor] = field(default_factory=dict)
    next_actor: int = 0
    stillborn: int = 0
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
    def stats(self) -> StageStats:
        """What it has done so far, to be told."""
        return StageStats(
            self.stage.name,
            self.stage.where,
            tasks=self.tasks,
            retries=self.retries,
            rows_in=self.rows_in,
            rows_out=self.rows_out,
            bytes_out=self.bytes_out,
            busy_s=self.busy_s,
            failed=self.failed,
        )

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

    def keep(self, number: int, made: Sequence[Bundle | Nulls]) -> None:
        """Have what a task has made wait for its turn, and learn from it which columns there are."""
        self.made[number] = tuple(made)
        if self.columns is None:
            rows = (one for one in made if isinstance(one, Bundle) and one.rows)
            self.columns = next((one.schema for one in rows), None)

    @property
    def lacks_columns(self) -> bool:
        """Whether what is next in order is nulls, and nothing has said yet of which columns."""
        waits = any(isinstance(one, Nulls) for one in self.made[self.next_out])
        return waits and self.columns is None

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


def _want(state: StageState, head: Bundle) -> int:
    """How many rows the next task takes: a piece of the first block, or whole batches."""
    want = min(state.cut_rows, head.rows)
    batch_rows = state.stage.batch_rows
    if batch_rows and want < state.cut_rows:
        want = want // batch_rows * batch_rows or batch_rows
    return want


def is_enough(state: StageState) -> bool:
    """Whether the next task's input has come in."""
    head = state.source[0]
    if not isinstance(head, Bundle):
        return True
    want = _want(state, head)
    for item in state.source:
        want -= item.rows
        if want <= 0:
            return True
    return False


def next_input(state: StageState) -> tuple[tuple[Item, ...], Bundle | None, int]:
    """The input of the next task, what stays of its last block, and how many items it uses."""
    head = state.source[0]
    if state.stage.gather:
        return tuple(state.source), None, len(state.source)
    if not isinstance(head, Bundle):
        return (head,), None, 1
    want = _want(state, head)
    parts: list[Item] = []
    for item in state.source:
        assert isinstance(item, Bundle)
        rows = min(item.rows, want)
        parts.append(item.view(0, rows))
        want -= rows
        if rows < item.rows:
            return tuple(parts), item.view(rows, item.rows - rows), len(parts)
        if want <= 0:
            break
    return tuple(parts), None, len(parts)
