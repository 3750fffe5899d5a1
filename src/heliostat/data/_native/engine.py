"""Run the native part of a plan as one query, and stream its rows.

Steps that say the same in SQL are written into the query with the verbs, so that DuckDB takes
filters and columns down to the files. What is not native below it runs first, and comes in as a
table if it is small, else as a stream.
"""

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from heliostat.data._evaluate import computed_schema
from heliostat.data._expr import columns_of
from heliostat.data._native.binding import bind, cursor, limit_memory, refused
from heliostat.data._native.expression import sql_of
from heliostat.data._native.join import Join, Zip
from heliostat.data._native.nothing import NothingKnownError, of_nothing
from heliostat.data._native.queries import Aggregate, CountWhere, Text
from heliostat.data._native.relation import Relation, clash, quote, quoted
from heliostat.data._native.scan import is_scanned, scan_of
from heliostat.data._native.temp_files import removed_if_killed
from heliostat.data._native.types import from_storage, storage_schema, to_storage
from heliostat.data._plan import (
    Apply,
    Compute,
    Drop,
    Limit,
    Plan,
    Read,
    Relate,
    Rename,
    Select,
    Step,
    Union,
    Where,
    are_handful,
    native_schema,
    rename,
    schema_of,
    walk,
)
from heliostat.data.arrays import no_rows
from heliostat.data.block import Bundle, concat
from heliostat.data.datasource.parquet import ParquetSource

# An input up to this size is a table, which DuckDB scans with all threads; above it, a stream.
TABLE_BYTES = 256 << 20
ROWS_A_BLOCK = 122_880
# Below this the engine cannot do much, not even with disk.
LEAST_MEMORY = 256 << 20
# Packed as files are, and with what is built beside it, so much less may still not fit.
SMALL_PART = 8
_WORD = re.compile(r"\w+")

Run = Callable[[Plan], "tuple[Iterator[Bundle], pa.Schema | None]"]


def is_sql(plan: Plan) -> bool:
    """Whether the whole plan, down to a query or to files, can be said in SQL."""
    match plan:
        case Relate():
            return True
        case Read(source, None):
            return is_scanned(source)
        case Union(inputs):
            schemas = [schema_of(one) for one in inputs]
            alike = all(one is not None and one == schemas[0] for one in schemas)
            return alike and all(map(is_sql, inputs))
        case Apply(below, step):
            return is_sql(below) and _is_sql_step(step, schema_of(below))
    return False


def _is_sql_step(step: Step, schema: pa.Schema | None) -> bool:
    if isinstance(step, Limit):
        return True
    if schema is None or clash(schema.names):
        return False
    match step:
        case Select() | Drop():
            return True
        case Rename():
            return not clash(rename(schema.names, step))
        case Where(predicate):
            return sql_of(predicate, schema) is not None
        case Compute(pairs):
            return all(name and sql_of(expr, schema) is not None for name, expr in pairs)
    return False


def leaves(plan: Plan) -> list[Plan]:
    """What a native plan takes in that is not native itself.

    Args:
        plan: A native plan.

    Returns:
        Plans, in order; files that the engine reads itself are none.
    """
    match plan:
        case Relate(inputs):
            return [leaf for one in inputs for leaf in leaves(one)]
        case _ if not is_sql(plan):
            return [plan]
        case Union(inputs):
            return [leaf for one in inputs for leaf in leaves(one)]
        case Apply(below, _):
            return leaves(below)
    return []


@dataclass
class Segment:
    """A native part of a plan, ready to be run.

    Args:
        plan: The part, from its top.
        run: Runs a plan that is not native.
        memory_bytes: What the engine may hold; above it, it uses disk.
    """

    plan: Plan
    run: Run
    memory_bytes: int
    inputs: dict[str, pa.Table | pa.RecordBatchReader] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)

    def blocks(self) -> Generator[pa.Table]:
        """Run it.

        Yields:
            Blocks, in order; one without rows if there are none.
        """
        try:
            relation = self._relation(self.plan)
        except NothingKnownError as error:
            instead = of_nothing(self.plan, error.leaf)
            if instead is not None:
                yield from Segment(instead, self.run, self.memory_bytes).blocks()
            return
        empty = True
        with ExitStack() as stack:
            if self._may_need_disk():
                stack.enter_context(removed_if_killed())
            duck = stack.enter_context(cursor())
            limit_memory(duck, max(self.memory_bytes, LEAST_MEMORY) >> 20)
            for name, source in self.inputs.items():
                duck.register(name, source)
            try:
                for block in self._given(duck, relation):
                    empty = False
                    yield block
            except Exception as error:
                if self.errors:
                    raise self.errors[0] from None
                raise refused(error, _name(self.plan)) from error
        if empty:
            yield no_rows(relation.schema)

    def _given(self, duck: Any, relation: Relation) -> Iterator[pa.Table]:
        schema = relation.schema
        if _gives_little(self.plan, schema):
            # A relation is bound twice, which is a tenth of the time of a short query.
            if rows := [self._without_nan(one) for one in duck.execute(relation.sql).fetchall()]:
                columns = zip(zip(*rows, strict=True), schema.types, strict=True)
                yield pa.table([pa.array(one, kind) for one, kind in columns], schema=schema)
            return
        for batch in duck.sql(relation.statement).to_arrow_reader(ROWS_A_BLOCK):
            if batch.num_rows:
                yield from_storage(batch, schema)

    def _without_nan(self, row: Sequence[Any]) -> Sequence[Any]:
        """What is counted, without the NaN among it; where there is none, they are not counted again."""
        match self.plan, row:
            case Relate((below,), CountWhere(predicate)), (all_true, nan):
                source = below.source if isinstance(below, Read) else None
                if nan == 0 and is_scanned(source) and source.row_limit is None:
                    source.have_no_nan(columns_of(predicate))
                return (all_true - nan,)
        return row

    def _may_need_disk(self) -> bool:
        """Whether it takes in a good part of what it may hold, as far as one can tell."""
        known = _bytes_scanned(self.plan)
        for source in self.inputs.values():
            if not isinstance(source, pa.Table):
                return True
            known += source.nbytes
        return known > self.memory_bytes // SMALL_PART

    # -- from plan to relation

    def _relation(self, plan: Plan) -> Relation:
        match plan:
            case Relate(_, Zip()) if plan is not _zip_on_top(self.plan):
                return self._leaf(plan)
            case Relate(inputs, query):
                return bind(query, [self._relation(one) for one in inputs])
            case _ if not is_sql(plan):
                return self._leaf(plan)
            case Read(source):
                assert is_scanned(source)
                return scan_of(source, _hashed(self.plan))
            case Union(inputs):
                relations = [self._relation(one) for one in inputs]
                selects = [f"({one.select()})" for one in relations]
                return Relation(" UNION ALL ".join(selects), relations[0].schema)
            case Apply(below, step):
                return _written(self._relation(below), step)
        raise AssertionError(f"no relation of {plan!r}")

    # -- what comes in from outside

    def _leaf(self, plan: Plan) -> Relation:
        name = f"in{len(self.inputs)}"
        bundles, schema = self.run(plan)
        source, schema = self._source(plan, bundles, schema)
        self.inputs[name] = source
        return Relation(name, schema)

    def _source(
        self, plan: Plan, bundles: Iterator[Bundle], schema: pa.Schema | None
    ) -> tuple[pa.Table | pa.RecordBatchReader, pa.Schema]:
        tables: list[pa.Table] = []
        size = 0
        for bundle in bundles:
            tables.append(bundle.table())
            size += bundle.size_bytes
            if size > min(TABLE_BYTES, self.memory_bytes // 4):
                break
        else:
            whole = concat(tables) if tables else no_rows(schema or pa.schema([]))
            if not whole.num_columns:
                raise NothingKnownError(plan)
            return to_storage(whole), whole.schema.remove_metadata()
        first = concat(tables)
        kinds = first.schema.remove_metadata()
        stored = storage_schema(kinds)
        return pa.RecordBatchReader.from_batches(
            stored, self._batches(first, bundles, kinds)
        ), kinds

    def _batches(
        self, first: pa.Table, rest: Iterator[Bundle], schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        try:
            yield from to_storage(first).to_batches()
            for bundle in rest:
                table = bundle.table()
                if not table.schema.equals(schema):
                    table = _fitted(table, schema)
                yield from to_storage(table).to_batches()
        except BaseException as error:
            # DuckDB would make text of it.
            self.errors.append(error)
            raise


def _zip_on_top(plan: Plan) -> Plan | None:
    """The zip all rows of which are asked for, in their order, if there is one.

    DuckDB takes a side that nobody asks any more for one that is shorter than the other, and gives
    the rows of a union in any order where nobody looks at it, as for groups: any other zip is a query
    of its own, from which they are taken.
    """
    match plan:
        case Apply(below, step) if not isinstance(step, Limit):
            return _zip_on_top(below)
        case Relate(_, Zip()):
            return plan
    return None


def _hashed(plan: Plan) -> set[str]:
    """Names of columns by which rows are matched or grouped somewhere in it."""
    names: set[str] = set()
    for one in walk(plan):
        match one:
            case Relate(_, Aggregate(keys)):
                names.update(keys)
            case Relate(_, Join(_, on, right_on)):
                names.update(on, right_on)
            case Relate(_, Text(query)):
                words = set(_WORD.findall(query))
                if {"join", "group"} & {word.lower() for word in words}:
                    names |= words
    return names


def _gives_little(plan: Plan, schema: pa.Schema) -> bool:
    """Whether it is a row, or a few rows, of what Python has exactly."""
    match plan:
        case Relate((below,), Aggregate(keys)) if keys and not are_handful(below, keys):
            return False
        case Relate(_, Aggregate() | CountWhere()):
            return all(one in (pa.int64(), pa.float64(), pa.string()) for one in schema.types)
    return False


def _bytes_scanned(plan: Plan) -> int:
    """About how much the engine reads from files."""
    return sum(
        one.source.size_bytes
        for one in walk(plan)
        if isinstance(one, Read) and isinstance(one.source, ParquetSource)
    )


def _written(relation: Relation, step: Step) -> Relation:
    """A step as SQL over a relation."""
    schema = relation.schema
    match step:
        case Limit(rows):
            return Relation(relation.select(rest=f"LIMIT {rows}"), schema)
        case Where(predicate):
            return Relation(relation.select(rest=f"WHERE {sql_of(predicate, schema)}"), schema)
        case Select() | Drop():
            after = native_schema(schema, step)
            return Relation(relation.select(quoted(after.names)), after)
        case Rename():
            after = native_schema(schema, step)
            pairs = zip(schema.names, after.names, strict=True)
            listed = ", ".join(f"{quote(old)} AS {quote(new)}" for old, new in pairs)
            return Relation(relation.select(listed), after)
        case Compute(pairs):
            made = {name: sql_of(expr, schema) for name, expr in pairs}
            after = computed_schema(schema, pairs)
            listed = ", ".join(
                f"{made[name]} AS {quote(name)}" if name in made else quote(name)
                for name in after.names
            )
            return Relation(relation.select(listed), after)
    raise AssertionError(f"no SQL for {step!r}")


def _name(plan: Plan) -> str:
    match plan:
        case Relate(_, query):
            return query.name
        case Apply(below, _):
            return _name(below)
    return "the query"


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A later block in the types of the first ones."""
    try:
        return table.select(schema.names).cast(schema)
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"a block has columns {table.schema.names} of types {table.schema.types}, which do "
            f"not fit those before it, {schema.names} of {schema.types}: {error}"
        ) from error
