"""Rules from plan to plan, and from a plan to the stages that run it. All pure.

First the tree is rewritten until no rule applies: limits and projections move down, into the
read where it can take them. Then it is cut into stages: steps that may run in one task are
fused, and what needs no process stays in the driver.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from heliostat.data._evaluate import is_positional
from heliostat.data._expr import Unnest, columns_of
from heliostat.data._failures import RAISE
from heliostat.data._native.engine import is_sql, leaves
from heliostat.data._native.join import Zip
from heliostat.data._native.queries import Aggregate, Sort
from heliostat.data._ordering.order import is_plain
from heliostat.data._plan import (
    GATHERING,
    REORDERING,
    ROW_FOR_ROW,
    UDF_STEPS,
    Actors,
    Apply,
    Blocks,
    Compute,
    Drop,
    Here,
    Limit,
    MapBatches,
    MapRows,
    Mix,
    Place,
    Plan,
    Read,
    Relate,
    Rename,
    Repartition,
    Select,
    Shuffle,
    SortRows,
    Step,
    Tasks,
    UdfStep,
    Union,
    Where,
    are_handful,
    rename,
    schema_of,
    step_name,
)
from heliostat.data.block import Bundle
from heliostat.data.datasource.source import Part


@dataclass(frozen=True)
class Streamed:
    """A part of a plan that gives a block at a time: a query, a sort, a shuffle, or a mix."""

    plan: Plan
    rows: int = 0
    size_bytes: int = 0

    @property
    def is_query(self) -> bool:
        """Whether the native engine runs it."""
        return is_native(self.plan)

    @property
    def inputs(self) -> tuple[Plan, ...]:
        """What it takes blocks from: plans, each of which is an execution of its own."""
        match self.plan:
            case Mix(inputs):
                return inputs
            case Apply(below, step) if isinstance(step, REORDERING):
                return (below,)
        return tuple(leaves(self.plan))


Item: TypeAlias = Part | Bundle | Streamed

# A stage of user code gets at least this many tasks where there are rows enough: what is done
# with each row may be slow. A constant, not the number of CPUs, so that batches do not depend on
# the machine.
PIECES = 16
# Up to this many first rows are found without sorting all of them.
TOP_ROWS = 100_000
# How many blocks a query may give is not known; a few pieces of each are a middle way.
STREAMED_BLOCKS = 4


@dataclass(frozen=True)
class Stage:
    """What runs as one kind of task.

    Attributes:
        name: The steps, for people.
        place: Where its tasks run.
        steps: The chain.
        source: What a first stage starts from.
        inputs: The earlier stages whose blocks it takes, in order.
        pieces: Into how many tasks to cut each block it takes, if the block is large enough.
        batch_rows: Cut only at multiples of this.
        limit: How many rows it gives at most, all tasks together.
        gather: It takes all blocks at once.
        survives: A row that fails, or kills its process, is left out, or becomes nulls.
        counts: It must know how many rows came before.
        streams: Its only input gives a block at a time, as long as there are any.
        as_blocks: Somebody has shared its rows out: a function of blocks is given them as they are.
        row_for_row: Each row it takes becomes one row.
    """

    name: str
    place: Place
    steps: tuple[Step, ...] = ()
    source: tuple[Item, ...] = ()
    inputs: tuple[int, ...] = ()
    pieces: int = 1
    batch_rows: int | None = None
    limit: int | None = None
    gather: bool = False
    streams: bool = False
    counts: bool = False
    survives: bool = False
    as_blocks: bool = False

    @property
    def nulls(self) -> bool:
        """Whether a row that kills its process becomes a row of nulls: its function is the last."""
        return bool(self.steps) and _gives_nulls(self.steps[-1])

    @property
    def where(self) -> str:
        """Where it runs, for people."""
        first = self.source[0] if self.source else None
        if isinstance(first, Streamed) and first.is_query:
            return "natively"
        return {Here: "in place", Tasks: "in workers", Actors: "in actors"}[type(self.place)]

    @property
    def row_for_row(self) -> bool:
        """Whether each row it takes becomes one row."""
        return all(isinstance(step, Limit) or _is_row_for_row(step) for step in self.steps)


# -- rules ------------------------------------------------------------------------------------


def optimize(plan: Plan) -> Plan:
    """Rewrite a plan into one that gives the same rows for less work."""
    return _groups_sorted_apart(_rewritten(plan))


def _rewritten(plan: Plan) -> Plan:
    match plan:
        case Union(inputs):
            plan = Union(tuple(_rewritten(one) for one in inputs))
        case Relate(inputs, query):
            plan = Relate(tuple(_rewritten(one) for one in inputs), query)
        case Mix(inputs):
            plan = replace(plan, inputs=tuple(_rewritten(one) for one in inputs))
        case Apply(below, step):
            plan = Apply(_rewritten(below), step)
    for rule in RULES:
        better = rule(plan)
        if better is not None:
            return _rewritten(better)
    return plan


def _groups_sorted_apart(plan: Plan) -> Plan:
    """Groups that are the result are sorted here: the engine takes as long for it as to make them."""
    match plan:
        case Relate((below,), Aggregate(keys, _, True) as query) if (
            keys and _sorted_here(plan, keys) and not are_handful(below, keys)
        ):
            groups = Relate((below,), replace(query, ordered=False))
            return Apply(groups, SortRows(keys, (False,) * len(keys)))
        case Apply(below, step) if not isinstance(step, Limit):
            return Apply(_groups_sorted_apart(below), step)
    return plan


def _sorted_here(plan: Plan, keys: tuple[str, ...]) -> bool:
    schema = schema_of(plan)
    if schema is None or len(set(schema.names)) < len(schema):
        return False
    return all(is_plain(schema.field(key).type) for key in keys)


def merge_limits(plan: Plan) -> Plan | None:
    """Two limits are the smaller one."""
    match plan:
        case Apply(Apply(below, Limit(inner)), Limit(outer)):
            return Apply(below, Limit(min(inner, outer)))
    return None


def push_limit_below_rows(plan: Plan) -> Plan | None:
    """A limit goes below a step that turns each row into one row."""
    match plan:
        case Apply(Apply(below, step), Limit() as limit) if _is_row_for_row(step):
            return Apply(Apply(below, limit), step)
    return None


def push_limit_into_zip(plan: Plan) -> Plan | None:
    """The first rows side by side are those of the first rows of each."""
    match plan:
        case Apply(Relate(inputs, Zip() as query), Limit() as limit):
            return Relate(tuple(Apply(one, limit) for one in inputs), query)
    return None


def push_limit_into_leaf(plan: Plan) -> Plan | None:
    """A source reads only the first rows; blocks in memory are cut."""
    match plan:
        case Apply(Read(source) as read, Limit(rows)):
            first = source.head(rows)
            return None if first is None else replace(read, source=first)
        case Apply(Blocks(bundles) as blocks, Limit(rows)):
            kept: list[Bundle] = []
            for bundle in bundles:
                if rows <= 0:
                    break
                kept.append(bundle.view(0, min(rows, bundle.rows)))
                rows -= bundle.rows
            return replace(blocks, bundles=tuple(kept))
    return None


def drop_is_select(plan: Plan) -> Plan | None:
    """Where the columns are known, dropping some is selecting the others."""
    match plan:
        case Apply(below, Drop(columns)):
            schema = schema_of(below)
            if schema is not None:
                kept = tuple(name for name in schema.names if name not in columns)
                return Apply(below, Select(kept))
    return None


def merge_selects(plan: Plan) -> Plan | None:
    """The outer of two selects decides."""
    match plan:
        case Apply(Apply(below, Select()), Select() as outer):
            return Apply(below, outer)
    return None


def push_select_below_rename(plan: Plan) -> Plan | None:
    """Select by the old names first, so that the read can do it."""
    match plan:
        case Apply(Apply(below, Rename() as step), Select(columns)):
            schema = schema_of(below)
            if schema is None:
                return None
            old = dict(zip(rename(schema.names, step), schema.names, strict=True))
            kept = tuple(old[name] for name in columns)
            pairs = tuple((old[name], name) for name in columns if old[name] != name)
            selected = Apply(below, Select(kept))
            return Apply(selected, Rename(pairs)) if pairs else selected
    return None


def push_select_below_shuffle(plan: Plan) -> Plan | None:
    """Shuffle only the columns that are wanted."""
    match plan:
        case Apply(Apply(below, Shuffle() as shuffle), Select() as select):
            return Apply(Apply(below, select), shuffle)
    return None


def push_select_below_sort(plan: Plan) -> Plan | None:
    """Sort only the columns that are wanted, and the keys."""
    match plan:
        case Apply(Apply(below, SortRows(keys) as sort), Select(columns)):
            narrowed = _narrowed(below, {*columns, *keys})
            return None if narrowed is None else Apply(Apply(narrowed, sort), plan.step)
    return None


def push_select_below_where(plan: Plan) -> Plan | None:
    """Filter only the columns that are wanted, and those the predicate reads."""
    match plan:
        case Apply(Apply(below, Where(predicate) as where), Select(columns)):
            narrowed = _narrowed(below, {*columns, *columns_of(predicate)})
            return None if narrowed is None else Apply(Apply(narrowed, where), plan.step)
    return None


def push_select_below_compute(plan: Plan) -> Plan | None:
    """Compute only what is wanted, from only the columns that it needs."""
    match plan:
        case Apply(Apply(below, Compute(pairs)), Select(columns)):
            if any(isinstance(expr, Unnest) for _, expr in pairs):
                return None
            kept = tuple(pair for pair in pairs if pair[0] in columns)
            made = {name for name, _ in kept}
            needed = {name for name in columns if name not in made}
            needed |= {name for _, expr in kept for name in columns_of(expr)}
            narrowed = _narrowed(below, needed)
            if narrowed is None and len(kept) == len(pairs):
                return None
            computed = below if narrowed is None else narrowed
            return Apply(Apply(computed, Compute(kept)) if kept else computed, plan.step)
    return None


def _narrowed(below: Plan, needed: set[str]) -> Plan | None:
    """The plan with only the columns needed; None if it has no others, or they are not known."""
    schema = schema_of(below)
    if schema is None or (isinstance(below, Apply) and isinstance(below.step, Select)):
        return None
    kept = tuple(name for name in schema.names if name in needed)
    # One column stays to count the rows by.
    kept = kept or tuple(schema.names[:1])
    return Apply(below, Select(kept)) if len(kept) < len(schema.names) else None


def push_select_into_read(plan: Plan) -> Plan | None:
    """A source reads only the columns that are wanted."""
    match plan:
        case Apply(Read(source) as read, Select(columns)):
            narrow = source.select(columns)
            return None if narrow is None else replace(read, source=narrow)
    return None


def sort_only_the_first(plan: Plan) -> Plan | None:
    """Where only the first rows are wanted, the native engine keeps no others."""
    match plan:
        case Apply(Apply(below, SortRows(keys, descending)), Limit(rows)) if rows <= TOP_ROWS:
            return Apply(Relate((below,), Sort(keys, descending)), plan.step)
    return None


RULES: tuple[Callable[[Plan], Plan | None], ...] = (
    merge_limits,
    push_limit_below_rows,
    push_limit_into_zip,
    push_limit_into_leaf,
    drop_is_select,
    merge_selects,
    push_select_below_rename,
    push_select_below_shuffle,
    push_select_below_sort,
    push_select_below_where,
    sort_only_the_first,
    push_select_below_compute,
    push_select_into_read,
)


def is_native(plan: Plan) -> bool:
    """Whether the native engine had better run the plan; whether it can is asked only then.

    Args:
        plan: An optimised plan.

    Returns:
        True if it is a relational verb or a filter of files, perhaps under steps that say the same
        in SQL.
    """
    return _worthwhile(plan) and is_sql(plan)


def _worthwhile(plan: Plan) -> bool:
    match plan:
        case Relate() | Apply(_, Where()):
            return True
        case Apply(below, _):
            return _worthwhile(below)
        case Union(inputs):
            return any(map(_worthwhile, inputs))
    return False


# -- stages -----------------------------------------------------------------------------------


def compile_stages(plan: Plan, target_bytes: int, *, fuse: bool = True) -> tuple[Stage, ...]:
    """Cut a plan into stages, each after those it takes blocks from; the last gives the result.

    Args:
        plan: An optimised plan, or any other.
        target_bytes: No read task should be larger.
        fuse: Whether steps may share a stage; off, each step is one (for tests).

    Returns:
        The stages.
    """
    stages: list[Stage] = []
    _add(plan, stages, target_bytes, fuse)
    return tuple(stages)


def _add(plan: Plan, stages: list[Stage], target_bytes: int, fuse: bool) -> int:
    """Append the stages of a plan; the index of the one that gives its blocks."""
    if is_native(plan):
        return _add_streamed(plan, " -> ".join(_names(plan)), stages)
    match plan:
        case Mix():
            return _add_streamed(plan, "Mix", stages)
        case Apply(_, step) if isinstance(step, REORDERING):
            return _add_streamed(plan, step_name(step), stages)
        case Read(source, said, as_blocks):
            tasks = tuple(source.read_tasks(target_bytes))
            place = said or (Here() if source.reads_in_driver else Tasks())
            stages.append(Stage(source.describe(), place, source=tasks, as_blocks=as_blocks))
        case Blocks(bundles, _, as_blocks):
            stages.append(Stage("Blocks", Here(), source=bundles, as_blocks=as_blocks))
        case Union(inputs):
            below = tuple(_add(one, stages, target_bytes, fuse) for one in inputs)
            as_blocks = all(stages[one].as_blocks for one in below)
            stages.append(Stage("Union", Here(), inputs=below, as_blocks=as_blocks))
        case Apply(below_plan, step):
            below_index = _add(below_plan, stages, target_bytes, fuse)
            _apply(step, below_index, stages, fuse)
    return len(stages) - 1


def _add_streamed(plan: Plan, name: str, stages: list[Stage]) -> int:
    stages.append(Stage(name, Here(), source=(Streamed(plan),), streams=True))
    return len(stages) - 1


def _names(plan: Plan) -> list[str]:
    """The parts of a native plan, in the order in which they work."""
    if not is_sql(plan):
        # Runs before, and has stages of its own.
        return []
    match plan:
        case Read(source):
            return [source.describe()]
        case Apply(below, step):
            return [*_names(below), step_name(step)]
        case Relate((below,), query):
            return [*_names(below), query.name]
        case Relate(inputs, query):
            sides = [" -> ".join(_names(one)) for one in inputs]
            return [f"({' | '.join(side for side in sides if side)})", query.name]
    return []


def _apply(step: Step, below: int, stages: list[Stage], fuse: bool) -> None:
    last = stages[below]
    place = _fused_place(last, step) if fuse else None
    if place is not None:
        pieces = last.pieces
        if isinstance(step, UDF_STEPS) and isinstance(last.place, Here):
            pieces = _pieces(len(last.source))
        if last.as_blocks and _takes_blocks(step):
            pieces = 1
        stages[below] = replace(
            last,
            name=_joined(last, step),
            place=place,
            steps=(*last.steps, step),
            pieces=pieces,
            batch_rows=last.batch_rows or _batch_rows(last, step),
            limit=step.rows if isinstance(step, Limit) else None,
            survives=last.survives or _survives(step),
        )
        return
    cut = isinstance(step, UDF_STEPS) and not (last.as_blocks and _takes_blocks(step))
    stages.append(
        Stage(
            step_name(step),
            step.place if isinstance(step, UDF_STEPS) else Here(),
            steps=(step,),
            inputs=(below,),
            pieces=_pieces(_blocks_from(below, stages)) if cut else 1,
            batch_rows=_rows_together(step),
            limit=step.rows if isinstance(step, Limit) else None,
            gather=isinstance(step, GATHERING),
            counts=counts_rows(step),
            survives=_survives(step),
            as_blocks=last.as_blocks or isinstance(step, Repartition),
        )
    )


def _fused_place(last: Stage, step: Step) -> Place | None:
    """Where `last` would run with the step added, or None if the two cannot be one stage."""
    if last.limit is not None or last.inputs[1:] or last.streams or last.counts:
        return None
    if isinstance(step, GATHERING) or counts_rows(step) or last.nulls:
        return None
    if _gives_nulls(step) and any(isinstance(one, UDF_STEPS) for one in last.steps):
        return None  # where two run, nobody knows which of them kills
    if not isinstance(step, UDF_STEPS):
        return last.place
    if last.gather:
        return None
    if isinstance(last.place, Tasks):
        alike = step.place == last.place or (last.place == Tasks() and not _has_function(last))
        return step.place if alike and isinstance(step.place, Tasks) else None
    if not isinstance(last.place, Here):
        return None
    return step.place if _may_move(last, step) else None


def _survives(step: Step) -> bool:
    return isinstance(step, UDF_STEPS) and step.udf.on_error != RAISE


def _is_row_for_row(step: Step) -> bool:
    # A function may fail on a row that is left out then.
    return isinstance(step, ROW_FOR_ROW) and (not _survives(step) or _gives_nulls(step))


def _gives_nulls(step: Step) -> bool:
    return isinstance(step, MapRows) and step.udf.on_error.action == "null"


def counts_rows(step: Step) -> bool:
    """Whether it must know how many rows came before."""
    match step:
        case Compute(pairs):
            return any(is_positional(expr) for _, expr in pairs)
        case Where(predicate):
            return is_positional(predicate)
    return False


def _may_move(last: Stage, step: UdfStep) -> bool:
    """Whether what would run in the driver had better run in the task of the function.

    Reading in the worker saves the way through shared memory. It pays only where there are
    enough reads to keep the workers busy; and not for actors, which may hold a GPU meanwhile.
    Blocks in the store are mapped there for nothing; blocks in the driver are best narrowed first.
    """
    if not last.source:
        return False
    if isinstance(last.source[0], Bundle):
        stored = all(isinstance(item, Bundle) and not item.cell.is_local for item in last.source)
        return stored or not last.steps
    # A row that kills is found among rows that are there.
    if _survives(step):
        return False
    return isinstance(step.place, Tasks) and len(last.source) >= PIECES


def _has_function(stage: Stage) -> bool:
    return any(isinstance(step, UDF_STEPS) for step in stage.steps)


def _takes_blocks(step: Step) -> bool:
    """Whether its function is given blocks as they are, so that a cut would be seen."""
    return isinstance(step, MapBatches) and step.batch_size is None


def _pieces(blocks: int) -> int:
    return -(-PIECES // max(1, blocks))


def _blocks_from(index: int, stages: list[Stage]) -> int:
    """About how many blocks a stage gives."""
    stage = stages[index]
    if stage.gather:
        return 1
    if stage.streams:
        return STREAMED_BLOCKS
    if stage.inputs:
        return sum(_blocks_from(one, stages) for one in stage.inputs) * stage.pieces
    return len(stage.source) * stage.pieces


def _joined(last: Stage, step: Step) -> str:
    if last.name == "Blocks":
        return step_name(step)
    return f"{last.name} -> {step_name(step)}"


def _batch_rows(last: Stage, step: Step) -> int | None:
    """Where a stage must be cut so that its first batches are whole."""
    return _rows_together(step) if last.row_for_row else None


def _rows_together(step: Step) -> int | None:
    """Rows that one task had better take: a batch, or as many as a coroutine takes at once."""
    if not isinstance(step, UDF_STEPS):
        return None
    calls = step.udf.at_once if step.udf.is_async else None
    if isinstance(step, MapBatches):
        return step.batch_size and step.batch_size * (calls or 1)
    return calls
