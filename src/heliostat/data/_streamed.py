"""What gives a block at a time, in the driver: a query, a mix, a sort or a shuffle.

What it takes blocks from runs as an execution of its own, which it is given a way to start.
"""

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from heliostat.data._evaluate import evaluate
from heliostat.data._expr import Expr, columns_of
from heliostat.data._mix import mixed
from heliostat.data._native.engine import Segment
from heliostat.data._native.queries import CountWhere
from heliostat.data._ordering.shuffling import shuffled_blocks
from heliostat.data._ordering.sorting import sorted_blocks
from heliostat.data._plan import (
    UDF_STEPS,
    Apply,
    Mix,
    Plan,
    Read,
    Relate,
    Shuffle,
    SortRows,
    schema_of,
    walk,
    with_encoded_texts,
)
from heliostat.data._spill import Gathered
from heliostat.data.arrays import no_rows
from heliostat.data.block import Bundle
from heliostat.data.datasource.parquet import ParquetSource
from heliostat.data.datasource.source import Part

# What an execution may hold is shared by what sorts or queries, what runs below it, and processes.
# A sort needs as much again as it holds; but of what was read in this process, each column goes as
# soon as it was brought into order.
HELD_SHARE = 10
HELD_SHARE_ALONE = 3
QUERY_SHARE = 2
BELOW_SHARE = 12
# What a thread that counts rows reads at once, by what the footers say.
READ_BYTES = 32 << 20

Run: TypeAlias = Callable[[Plan, int], "tuple[Generator[Bundle], pa.Schema | None]"]


def streamed(plan: Plan, run: Run, memory_bytes: int) -> Generator[pa.Table]:
    """Run a part of a plan.

    Args:
        plan: A mix, a sort, a shuffle, or else a native plan.
        run: Runs a plan below it, within so many bytes.
        memory_bytes: What it and all below may hold.

    Yields:
        Blocks, in order.
    """
    match plan:
        case Mix(inputs, weights, until):
            below = [run(one, memory_bytes // len(inputs))[0] for one in inputs]
            try:
                yield from mixed([_tables(one) for one in below], weights, until)
            finally:
                for one in below:
                    one.close()
        case Apply(input, (SortRows() | Shuffle()) as step):
            encoded, promised = with_encoded_texts(input), schema_of(input)
            rows, schema = run(encoded or input, memory_bytes // BELOW_SHARE)
            share = HELD_SHARE if _has_functions(input) else HELD_SHARE_ALONE
            held_bytes = memory_bytes // share
            with contextlib.closing(rows), Gathered(_tables(rows, schema)) as blocks:
                cast = promised if encoded else None
                match step:
                    case SortRows(keys, descending):
                        yield from sorted_blocks(blocks, keys, descending, held_bytes, cast)
                    case Shuffle(seed):
                        yield from shuffled_blocks(blocks, seed, held_bytes, cast)
        case Relate((Read(ParquetSource() as source, None),), CountWhere() as query) if (
            query.kernels_are_faster(source.schema)
        ):
            yield pa.table({"count()": [_counted(source, query.predicate)]})
        case _:

            def leaf(one: Plan) -> "tuple[Generator[Bundle], pa.Schema | None]":
                return run(one, memory_bytes // BELOW_SHARE)

            yield from Segment(plan, leaf, memory_bytes // QUERY_SHARE).blocks()


def _counted(source: ParquetSource, predicate: Expr) -> int:
    """How many rows it is true of: read and counted by several threads, no more than they hold."""

    def count(part: Part) -> int:
        found = (evaluate(predicate, table) for table in part.read())
        return sum(pc.sum(one).as_py() or 0 for one in found)

    narrow = source.select(tuple(sorted(columns_of(predicate))))
    threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        return sum(threads.map(count, narrow.read_tasks(READ_BYTES)))
    finally:
        threads.shutdown(cancel_futures=True)


def _has_functions(plan: Plan) -> bool:
    return any(isinstance(one, Apply) and isinstance(one.step, UDF_STEPS) for one in walk(plan))


def _tables(bundles: Generator[Bundle], schema: pa.Schema | None = None) -> Iterator[pa.Table]:
    """The blocks; one without rows if there are none, and it is known what it looks like."""
    any_rows = False
    while (bundle := next(bundles, None)) is not None:
        any_rows = True
        table = bundle.table()
        # Nothing here keeps what the other side lets go.
        del bundle
        yield table
        del table
    if not any_rows and schema is not None:
        yield no_rows(schema)
