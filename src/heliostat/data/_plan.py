"""What was asked for: steps as frozen dataclasses, and a plan as a tree of them.

A plan is a Read, some Blocks, a Union, or one step applied to a plan. What can be said about a
plan without running it (columns, number of rows) is said here; nothing here runs one.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeAlias

import pyarrow as pa

from heliostat.data._common_type import common_schema
from heliostat.data._evaluate import check_predicate, computed_schema
from heliostat.data._expr import Expr, Literal, Random
from heliostat.data._expr import walk as walk_expr
from heliostat.data._failures import RAISE, OnError
from heliostat.data._mix import MixStoppingCondition
from heliostat.data._native.binding import query_schema
from heliostat.data._native.queries import Query
from heliostat.data._seeds import Reseeding
from heliostat.data.block import Bundle, require_columns
from heliostat.data.datasource.parquet import ParquetSource
from heliostat.data.datasource.source import Source

# -- where Python functions run ---------------------------------------------------------------


# How many calls wait at once where the user does not say; as Ray's.
AT_ONCE = 4


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling it gives something to wait for.

    Args:
        fn: A function, or a callable class.

    Returns:
        True for `async def`, with `yield` in it or without.
    """
    called: Any = fn
    if not inspect.isroutine(fn):
        owner = fn if isinstance(fn, type) else type(fn)
        called = vars(owner).get("__call__") or getattr(owner, "__call__", fn)  # noqa: B004
    return inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)


@dataclass(frozen=True)
class Here:
    """In the driver, between two waits. For what is native and needs no process."""


# The option that is a function, which gives further ones for each task or actor.
DYNAMIC = "ray_remote_args_fn"


@dataclass(frozen=True)
class Tasks:
    """In tasks, as many at once as the machine takes, or at most `size`."""

    size: int | None = None
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Actors:
    """In a pool of actors that keep their state between blocks."""

    min_size: int
    max_size: int | None
    initial_size: int
    in_flight: int = 2
    options: tuple[tuple[str, Any], ...] = ()


Place: TypeAlias = Here | Tasks | Actors


def further_options(place: Here | Tasks | Actors) -> dict[str, Any]:
    """Options for the task or actor that is started next, from the function that gives them."""
    dynamic = None if isinstance(place, Here) else dict(place.options).get(DYNAMIC)
    return {} if dynamic is None else dict(dynamic())


@dataclass(frozen=True)
class Udf:
    """A user's function or callable class, with everything it is called with.

    In turn: where several threads call it, one does at a time. At once: how many calls of a
    coroutine wait together.
    """

    fn: Callable[..., Any] = field(repr=False)
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    constructor_args: tuple[Any, ...] = ()
    constructor_kwargs: Mapping[str, Any] = field(default_factory=dict)
    on_error: OnError = RAISE
    in_turn: bool = False
    at_once: int = AT_ONCE

    @property
    def is_async(self) -> bool:
        """Whether what it gives is to be awaited."""
        return is_async(self.fn)

    @property
    def name(self) -> str:
        """What people call it."""
        return str(getattr(self.fn, "__name__", type(self.fn).__name__))


# -- steps ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Select:
    """Keep these columns, in this order."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Drop:
    """Remove these columns."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Rename:
    """Give columns new names: pairs, or one new name for each column."""

    pairs: tuple[tuple[str, str], ...] = ()
    all_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Where:
    """Keep the rows for which the expression is true."""

    predicate: Expr


@dataclass(frozen=True)
class Compute:
    """Add columns, or replace them: names and expressions, all over the old columns."""

    pairs: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True)
class Limit:
    """Keep the first rows."""

    rows: int


@dataclass(frozen=True)
class Shuffle:
    """Bring all rows into a random order; None draws a new seed for each execution."""

    seed: int | None


@dataclass(frozen=True)
class ShuffleBlocks:
    """Bring whole blocks into a random order."""

    seed: int | None


@dataclass(frozen=True)
class Repartition:
    """Cut all rows anew: into so many blocks, or blocks of so many rows, or by keys."""

    blocks: int | None
    rows: int | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class SortRows:
    """In the order of the keys; rows with equal keys stay in their order."""

    keys: tuple[str, ...]
    descending: tuple[bool, ...]


@dataclass(frozen=True)
class Groups:
    """Cut rows that are in the order of the keys so that each group is in one block."""

    keys: tuple[str, ...]


@dataclass(frozen=True)
class MapBatches:
    """Call the function on batches; whatever it returns or yields follows in order."""

    udf: Udf
    place: Tasks | Actors
    batch_size: int | None
    batch_format: str
    writable: bool
    # Blocks go in as they are, never cut or joined.
    whole: bool = False


@dataclass(frozen=True)
class MapRows:
    """Call the function on each row; it returns a row."""

    udf: Udf
    place: Tasks | Actors


@dataclass(frozen=True)
class FlatMap:
    """Call the function on each row; it returns any number of rows."""

    udf: Udf
    place: Tasks | Actors


@dataclass(frozen=True)
class Filter:
    """Keep the rows for which the function is true."""

    udf: Udf
    place: Tasks | Actors


UdfStep: TypeAlias = MapBatches | MapRows | FlatMap | Filter
NativeStep: TypeAlias = Select | Drop | Rename | Where | Compute
GatheringStep: TypeAlias = ShuffleBlocks | Repartition | Groups
ReorderingStep: TypeAlias = Shuffle | SortRows
Step: TypeAlias = NativeStep | UdfStep | Limit | GatheringStep | ReorderingStep

UDF_STEPS = (MapBatches, MapRows, FlatMap, Filter)
# One task takes all blocks at once.
GATHERING = (ShuffleBlocks, Repartition, Groups)
# Take all blocks, one after the other, and give all rows in another order; with disk if need be.
REORDERING = (Shuffle, SortRows)
# One row in, one row out, in the same order: a limit may go below these.
ROW_FOR_ROW = (Select, Drop, Rename, Compute, MapRows)


# -- plans ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """Rows that lie elsewhere; read where it was said, or is best; as blocks, if their number was."""

    source: Source
    place: Tasks | None = None
    as_blocks: bool = False


@dataclass(frozen=True)
class Blocks:
    """Rows that are there already; not as blocks where nobody has shared them out yet."""

    bundles: tuple[Bundle, ...]
    schema: pa.Schema | None
    as_blocks: bool = True


@dataclass(frozen=True)
class Apply:
    """One step over a plan."""

    input: "Plan"
    step: Step


@dataclass(frozen=True)
class Union:
    """All rows of the first plan, then all of the second, and so on."""

    inputs: tuple["Plan", ...]


@dataclass(frozen=True)
class Relate:
    """A relational verb over plans: what the native engine runs as one query."""

    inputs: tuple["Plan", ...]
    query: Query


@dataclass(frozen=True)
class Mix:
    """The plans' blocks in turn, so that their rows keep to the weights."""

    inputs: tuple["Plan", ...]
    weights: tuple[float, ...]
    until: MixStoppingCondition


Plan: TypeAlias = Read | Blocks | Apply | Union | Relate | Mix


def step_name(step: Step) -> str:
    """How a step is called in plans, progress and errors."""
    kind = type(step).__name__
    if isinstance(step, UDF_STEPS):
        kind = "Map" if isinstance(step, MapRows) else kind
        return f"{kind}({step.udf.name})"
    if isinstance(step, Limit):
        return f"Limit({step.rows})"
    if isinstance(step, Select | Drop):
        few = len(step.columns) <= 3
        return f"{kind}({', '.join(step.columns) if few else f'{len(step.columns)} columns'})"
    if isinstance(step, SortRows):
        return f"Sort({', '.join(step.keys)})"
    if isinstance(step, Where):
        return f"Filter({step.predicate!r})"
    if isinstance(step, Compute):
        return f"Project({', '.join(f'{name}={expr!r}' for name, expr in step.pairs)})"
    return kind


def rename(names: list[str], step: Rename) -> list[str]:
    """The column names after a Rename.

    Raises:
        KeyError: if it renames a column that is not there.
        ValueError: if the numbers differ, or two columns would have one name.
    """
    if step.all_names:
        if len(step.all_names) != len(names):
            raise ValueError(
                f"rename_columns: {len(step.all_names)} names for {len(names)} columns; "
                f"the columns are {names}"
            )
        renamed = list(step.all_names)
    else:
        mapping = dict(step.pairs)
        require_columns(list(mapping), names, "rename_columns")
        renamed = [mapping.get(name, name) for name in names]
    if len(set(renamed)) != len(renamed):
        raise ValueError(f"rename_columns would leave two columns with one name: {renamed}")
    return renamed


def schema_of(plan: Plan) -> pa.Schema | None:
    """The schema, where it can be known without running anything.

    Raises:
        KeyError: if a step names a column that cannot be there.
    """
    match plan:
        case Read(source):
            return source.schema
        case Blocks(_, schema):
            return schema
        case Union(inputs) | Mix(inputs):
            return _union_schema([schema_of(one) for one in inputs])
        case Relate(inputs, query):
            schemas = [schema_of(one) for one in inputs]
            known = [one for one in schemas if one is not None]
            return query_schema(query, known) if len(known) == len(schemas) else None
        case Apply(below, step) if not isinstance(step, UDF_STEPS):
            schema = schema_of(below)
            return None if schema is None else native_schema(schema, step)
        case Apply(below, Filter()):
            return schema_of(below)
    return None


def native_schema(schema: pa.Schema, step: Step) -> pa.Schema:
    """The schema after a step that is no user's function."""
    match step:
        case Select(columns):
            require_columns(columns, schema.names, "select_columns")
            return pa.schema([schema.field(name) for name in columns])
        case Drop(columns):
            require_columns(columns, schema.names, "drop_columns")
            kept = [one for one in schema if one.name not in columns]
            if not kept:
                raise ValueError("drop_columns would leave no column, and so no rows; keep one")
            return pa.schema(kept)
        case Rename():
            names = rename(schema.names, step)
            return pa.schema([one.with_name(new) for one, new in zip(schema, names, strict=True)])
        case Where(predicate):
            check_predicate(schema, predicate)
        case Compute(pairs):
            return computed_schema(schema, pairs)
        case SortRows(keys) | Repartition(keys=keys):
            require_columns(keys, schema.names, step_name(step))
    return schema


def aligned(plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """The plans, each with all columns that one of them has, in one order, as far as they are known."""
    schemas = [schema_of(one) for one in plans]
    whole = _union_schema(schemas)
    if whole is None:
        return tuple(plans)
    made = []
    for plan, schema in zip(plans, schemas, strict=True):
        known = [] if schema is None else schema.names
        absent = [one for one in whole if one.name not in known]
        pairs = tuple((one.name, Literal(None).cast(one.type)) for one in absent)
        filled = Apply(plan, Compute(pairs)) if pairs else plan
        same = [*known, *(name for name, _ in pairs)] == whole.names
        made.append(filled if same else Apply(filled, Select(tuple(whole.names))))
    return tuple(made)


def _union_schema(schemas: list[pa.Schema | None]) -> pa.Schema | None:
    known = [schema for schema in schemas if schema is not None]
    if len(known) < len(schemas):
        return None
    try:
        return common_schema(known)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None


def count_of(plan: Plan) -> int | None:
    """The number of rows, where it can be known without running anything."""
    match plan:
        case Read(source):
            return source.rows
        case Blocks(bundles):
            return sum(bundle.rows for bundle in bundles)
        case Union(inputs):
            counts = [count_of(one) for one in inputs]
            known = [count for count in counts if count is not None]
            return sum(known) if len(known) == len(counts) else None
        case Apply(below, Limit(rows)):
            count = count_of(below)
            return None if count is None else min(rows, count)
        case Apply(below, step) if not isinstance(step, (*UDF_STEPS, Where)):
            return count_of(below)
        case Relate((below,), query) if query.keeps_rows:
            return count_of(below)
    return None


def render(plan: Plan, depth: int = 0) -> Iterator[str]:
    """The plan as lines of text, what runs last first."""
    lead = "" if depth == 0 else "   " * (depth - 1) + "+- "
    match plan:
        case Read(source):
            yield f"{lead}{source.describe()}{_taken_over(source)}"
        case Blocks(bundles):
            rows = sum(bundle.rows for bundle in bundles)
            yield f"{lead}Blocks(rows={rows}, blocks={len(bundles)})"
        case Relate(inputs, query):
            yield f"{lead}{query.name}"
            for one in inputs:
                yield from render(one, depth + 1)
        case Union(inputs) | Mix(inputs):
            yield f"{lead}{type(plan).__name__}"
            for one in inputs:
                yield from render(one, depth + 1)
        case Apply(below, step):
            yield f"{lead}{step_name(step)}"
            yield from render(below, depth + 1)


def _taken_over(source: Any) -> str:
    """What a read does itself of the steps that were above it."""
    columns = getattr(source, "columns", None) if hasattr(source, "files") else None
    if isinstance(source, ParquetSource) and len(source.schema) < len(source.files[0].schema):
        columns = source.schema.names
    predicate = getattr(source, "predicate", None)
    told = {
        "columns": columns and ", ".join(columns),
        "filter": None if predicate is None else predicate.expression,
        "limit": getattr(source, "row_limit", None),
    }
    said = [f"{name}: {value}" for name, value in told.items() if value is not None]
    return f" [{'; '.join(said)}]" if said else ""


def walk(plan: Plan) -> Iterator[Plan]:
    """Every plan in the tree, the outermost first."""
    yield plan
    match plan:
        case Union(inputs) | Relate(inputs) | Mix(inputs):
            for one in inputs:
                yield from walk(one)
        case Apply(below, _):
            yield from walk(below)


def with_encoded_texts(plan: Plan) -> Plan | None:
    """What reads the same rows, and gives few different texts as a dictionary and their numbers.

    It saves making texts of all rows where they are soon taken by their numbers. The schema of the
    plan stays what it was.
    """
    match plan:
        case Read(ParquetSource() as source):
            return replace(plan, source=replace(source, encoded=True))
        case Apply(below, Select() | Drop() | Rename() as step):
            inner = with_encoded_texts(below)
            return None if inner is None else Apply(inner, step)
    return None


def are_handful(plan: Plan, columns: Sequence[str]) -> bool:
    """Whether columns of a plan's rows hold a handful of different texts, as far as footers tell."""
    match plan:
        case Read(ParquetSource() as source):
            return source.handful.issuperset(columns)
        case Apply(below, Select() | Drop() | Where() | Limit()):
            return are_handful(below, columns)
    return False


def settled(plan: Plan) -> Plan:
    """The plan with a seed drawn wherever it asks for another one each time."""
    match plan:
        case Apply(below, step):
            inner, fixed = settled(below), _settled_step(step)
            return plan if inner is below and fixed is step else Apply(inner, fixed)
        case Union(inputs) | Relate(inputs) | Mix(inputs):
            inner_ones = tuple(settled(one) for one in inputs)
            same = all(new is old for new, old in zip(inner_ones, inputs, strict=True))
            return plan if same else replace(plan, inputs=inner_ones)
    return plan


def _settled_step(step: Step) -> Step:
    if isinstance(step, Shuffle | ShuffleBlocks) and isinstance(step.seed, Reseeding):
        return replace(step, seed=step.seed.draw())
    if isinstance(step, Where) and any(_asks(one) for one in walk_expr(step.predicate)):
        return Where(_settled_expr(step.predicate))
    return step


def _asks(expr: Expr) -> bool:
    return isinstance(expr, Random) and isinstance(expr.seed, Reseeding)


def _settled_expr(expr: Any) -> Any:
    if isinstance(expr, tuple):
        return tuple(_settled_expr(one) for one in expr)
    if not isinstance(expr, Expr):
        return expr
    if isinstance(expr, Random) and isinstance(expr.seed, Reseeding):
        return Random(expr.seed.draw())
    return replace(
        expr, **{one.name: _settled_expr(getattr(expr, one.name)) for one in fields(expr)}
    )
