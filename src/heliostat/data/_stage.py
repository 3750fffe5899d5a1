"""What one task runs: a chain of fused steps over the blocks it was given.

Runs in a worker, in an actor of a pool, or in the driver; it does not know which.
"""

import contextlib
import gc
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

import heliostat
from heliostat.actor import exit_actor
from heliostat.data._awaited import Awaited
from heliostat.data._batching import joined, rebatch
from heliostat.data._evaluate import computed, filtered
from heliostat.data._expr import Expr
from heliostat.data._failures import Failures
from heliostat.data._gather import rearranged
from heliostat.data._in_turn import InTurn
from heliostat.data._plan import (
    UDF_STEPS,
    Compute,
    Drop,
    Filter,
    FlatMap,
    Groups,
    Limit,
    MapBatches,
    MapRows,
    Rename,
    Repartition,
    Select,
    Shuffle,
    ShuffleBlocks,
    SortRows,
    Step,
    UdfStep,
    Where,
    native_schema,
    step_name,
)
from heliostat.data._spill import give_back_memory, thrift
from heliostat.data.block import (
    INLINE_BYTES,
    Bundle,
    Cell,
    Position,
    compact,
    from_batch,
    from_rows,
    iter_rows,
    require_names,
    take_rows,
    to_batch,
)
from heliostat.data.context import DataContext
from heliostat.data.datasource.source import Part, reads_anew

# Rows are turned into a block at this many; a function's output may be far larger than its input.
ROWS_A_BLOCK = 1 << 16

# What a function makes goes on in blocks of at most so much, if it makes smaller ones.
JOINED_BYTES = 8 << 20

_OURS = os.path.dirname(__file__)

Functions: TypeAlias = Mapping[int, Callable[..., Any]]


class StageResult(NamedTuple):
    """What one task of a stage made."""

    bundles: tuple[Bundle, ...]
    busy_s: float
    failed: int = 0


def build_functions(steps: Sequence[Step]) -> dict[int, Callable[..., Any]]:
    """Make what the user's steps call: instances of callable classes, other functions as they are.

    Args:
        steps: The chain of a stage.

    Returns:
        The function of each step, by the step's position.
    """
    functions = {}
    for number, step in enumerate(steps):
        if isinstance(step, UDF_STEPS):
            try:
                functions[number] = _build(step)
            except Exception as error:  # noqa: BLE001 - the user's constructor
                _note(error, step)
                raise error.with_traceback(_users_part(error.__traceback__)) from error.__cause__
    return functions


def _build(step: UdfStep) -> Callable[..., Any]:
    udf = step.udf
    made = udf.fn
    if isinstance(made, type):
        made = made(*udf.constructor_args, **udf.constructor_kwargs)
    if udf.is_async:
        return Awaited(made, udf.at_once, lambda error: _note(error, step))
    return InTurn(made) if udf.in_turn else made


def run_stage(
    steps: Sequence[Step],
    functions: Functions,
    parts: Sequence[Part | Position],
    tables: Sequence[pa.Table],
    *,
    share: bool,
    first: int = 0,
    thrifty: bool = False,
) -> StageResult:
    """Run the chain over these parts, and give what it makes as bundles.

    Args:
        steps: The chain.
        functions: What `build_functions` made of it.
        parts: Reads to make, or rows of the given tables.
        tables: The blocks that the parts point into.
        share: Put large blocks into the object store, because the caller is another process.
        first: The number of the first row, where a step asks for it.
        thrifty: Keep no memory for the next task.

    Returns:
        The new bundles, in order; one without rows if there are none, for its schema.
    """
    started = time.perf_counter()
    failures: list[Failures] = []
    owned = all(not isinstance(part, Position) and reads_anew(part) for part in parts)
    blocks = run_steps(steps, functions, _inputs(parts, tables), first, failures, owned)
    bundles: list[Bundle] = []
    empty: pa.Table | None = None
    try:
        with thrift() if thrifty else contextlib.nullcontext():
            for block in joined(blocks, JOINED_BYTES) if share else blocks:
                if block.num_rows:
                    bundles.append(_shared(block) if share else Bundle.of(block))
                elif empty is None or not len(empty.schema):
                    empty = block
    except Exception as error:  # noqa: BLE001 - the user's code
        # Goes on to the user as it is, without the frames of our iterators around theirs.
        raise error.with_traceback(_users_part(error.__traceback__)) from error.__cause__
    if not bundles and empty is not None:
        bundles.append(Bundle.of(empty))
    failed = sum(one.count for one in failures)
    if thrifty:
        give_back_memory()
    return StageResult(tuple(bundles), time.perf_counter() - started, failed)


class StageActor:
    """What a pool consists of: holds the user's objects and runs the chain of its stage."""

    def __init__(self, steps: Sequence[Step], context: DataContext) -> None:
        self._steps = steps
        self._context = context
        self._functions: dict[int, Callable[..., Any]] = {}

    def build(self) -> None:
        """Make the user's objects. Apart from __init__, so that their errors stay theirs."""
        self._context.adopt()
        with self._context.adopted():
            self._build()

    def _build(self) -> None:
        left = self._context.actor_init_max_retries
        left = left if self._context.actor_init_retry_on_errors else 0
        while True:
            try:
                self._functions = build_functions(self._steps)
            except Exception:  # the user's constructor
                if not left:
                    raise
                left -= 1
            else:
                return

    def run(self, parts: Sequence[Part | Position], *tables: pa.Table) -> StageResult:
        """Run the chain over one input."""
        thrifty = self._context.memory_budget_bytes is not None
        steps, functions = self._steps, self._functions
        with self._context.adopted():
            return run_stage(steps, functions, parts, tables, share=True, thrifty=thrifty)

    def let_go(self) -> None:
        """Let the user's objects go, with their `__del__`, and end."""
        self._functions.clear()
        gc.collect()
        exit_actor()


def closes(steps: Sequence[Step]) -> bool:
    """Whether a class among them has something to do at the end.

    Args:
        steps: The chain of a stage.

    Returns:
        True if one has a `__del__`.
    """
    return any(isinstance(one, UDF_STEPS) and hasattr(one.udf.fn, "__del__") for one in steps)


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    return trace


def _shared(block: pa.Table) -> Bundle:
    block = compact(block)
    if block.nbytes <= INLINE_BYTES:
        return Bundle.of(block)
    ref = heliostat.put(block)
    return Bundle(Cell(ref=ref), 0, block.num_rows, block.nbytes, block.schema)


def _inputs(parts: Sequence[Part | Position], tables: Sequence[pa.Table]) -> Iterator[pa.Table]:
    for part in parts:
        if isinstance(part, Position):
            yield tables[part.argument].slice(part.start, part.rows)
        else:
            for table in part.read():
                require_names(table.column_names, "what is read")
                yield table


def run_steps(
    steps: Sequence[Step],
    functions: Functions,
    blocks: Iterator[pa.Table],
    first: int = 0,
    failures: "list[Failures] | None" = None,
    owned: bool = False,
) -> Iterator[pa.Table]:
    """The chain as one lazy iterator: a limit at its end stops the work at its beginning.

    With `owned`, nobody else has the memory of the blocks, and the first function may write to it.
    """
    for number, step in enumerate(steps):
        match step:
            case Limit(rows):
                blocks = _limit(blocks, rows)
            case Select() | Drop() | Rename():
                blocks = _native(blocks, step)
            case Where(predicate):
                blocks = _where(blocks, predicate, first)
            case Compute(pairs):
                blocks = _compute(blocks, pairs, first)
            case ShuffleBlocks() | Repartition() | Groups():
                blocks = rearranged(list(blocks), step)
            case Shuffle() | SortRows():
                raise AssertionError(f"{step_name(step)} is streamed, and no step of a stage")
            case _:
                failing = Failures(step.udf.on_error, step_name(step))
                blocks = _user(blocks, step, functions[number], failing, owned)
                if failures is not None:
                    failures.append(failing)
        # Other steps may give one column twice.
        owned = owned and isinstance(step, (Limit, Select, Drop, Rename))
    return blocks


def _limit(blocks: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    for block in blocks:
        yield block.slice(0, rows)
        rows -= block.num_rows
        if rows <= 0:
            return


def _native(blocks: Iterable[pa.Table], step: Select | Drop | Rename) -> Iterator[pa.Table]:
    for block in blocks:
        names = native_schema(block.schema, step).names
        yield block.rename_columns(names) if isinstance(step, Rename) else block.select(names)


def _where(blocks: Iterable[pa.Table], predicate: Expr, first: int) -> Iterator[pa.Table]:
    for block in blocks:
        yield filtered(block, predicate, first=first)
        first += block.num_rows


def _compute(
    blocks: Iterable[pa.Table], pairs: Sequence[tuple[str, Expr]], first: int
) -> Iterator[pa.Table]:
    for block in blocks:
        yield computed(block, pairs, first=first)
        first += block.num_rows


def _user(
    blocks: Iterable[pa.Table],
    step: UdfStep,
    fn: Callable[..., Any],
    failures: Failures,
    owned: bool,
) -> Iterator[pa.Table]:
    args, kwargs = step.udf.args, step.udf.kwargs

    def call(value: Any) -> Any:
        try:
            return fn(value, *args, **kwargs)
        except Exception as error:
            _note(error, step)
            raise

    if isinstance(fn, Awaited) and failures.action == "raise" and not isinstance(step, Filter):
        return _awaited(blocks, step, fn)
    match step:
        case MapBatches() if failures.action != "raise":
            return _map_batches_by_halves(blocks, step, call, failures)
        case MapBatches():
            return _map_batches(blocks, step, call, owned)
    if failures.action != "raise":
        if isinstance(step, Filter):
            return _filter_what_works(blocks, call, failures)
        return _in_blocks(_rows_that_work(blocks, step, call, failures))
    match step:
        case Filter():
            return _filter(blocks, step, _plainly(fn, args, kwargs))
        case MapRows():
            return _map_rows(blocks, step, _plainly(fn, args, kwargs))
    return _in_blocks(_rows(blocks, step, call))


def _plainly(fn: Callable[..., Any], args: Any, kwargs: Any) -> Callable[[Any], Any]:
    """The function itself if it takes nothing but the row: a call around it takes as long as it."""
    return partial(_with, fn, args, kwargs) if args or kwargs else fn


def _with(fn: Callable[..., Any], args: Any, kwargs: Any, value: Any) -> Any:
    return fn(value, *args, **kwargs)


def _drain(results: Iterator[Any], step: UdfStep) -> Iterator[Any]:
    try:
        yield from results
    except Exception as error:
        _note(error, step)
        raise


def _note(error: Exception, step: UdfStep) -> None:
    # The user's exception goes on as it is; it only says which step it was raised in.
    error.add_note(f"raised in {step_name(step)} of a Dataset, in process {os.getpid()}")


def _map_batches(
    blocks: Iterable[pa.Table], step: MapBatches, call: Callable[[Any], Any], owned: bool
) -> Iterator[pa.Table]:
    for table in rebatch(blocks, step.batch_size):
        yield from _results(table, step, call, owned)


def _awaited(blocks: Iterable[pa.Table], step: UdfStep, fn: Awaited) -> Iterator[pa.Table]:
    """The same for a coroutine, several of which are under way at once."""
    args, kwargs = step.udf.args, step.udf.kwargs
    if isinstance(step, MapBatches):
        form, writable = step.batch_format, step.writable
        tables = rebatch(blocks, step.batch_size)
        for table, result in fn.ahead(
            tables, lambda table: ((to_batch(table, form, writable=writable), *args), kwargs)
        ):
            yield from _as_blocks(result, step, table.schema)
        return
    rows = (row for block in blocks for row in iter_rows(block))
    made = (result for _, result in fn.ahead(rows, lambda row: ((row, *args), kwargs)))
    if isinstance(step, FlatMap):
        made = (one for result in made for one in _several(result, step))
    yield from _in_blocks(_row(one, step) for one in made)


def _results(
    table: pa.Table, step: MapBatches, call: Callable[[Any], Any], owned: bool = False
) -> Iterator[pa.Table]:
    result = call(to_batch(table, step.batch_format, writable=step.writable, owned=owned))
    return _as_blocks(result, step, table.schema)


def _as_blocks(result: Any, step: MapBatches, like: pa.Schema) -> Iterator[pa.Table]:
    source = step_name(step)
    if isinstance(result, Generator | Iterator):
        yield from (from_batch(one, source, like) for one in _drain(result, step))
    else:
        yield from_batch(result, source, like)


def _map_batches_by_halves(
    blocks: Iterable[pa.Table], step: MapBatches, call: Callable[[Any], Any], failures: Failures
) -> Iterator[pa.Table]:
    """A batch for which the function raises is halved until the rows that do it are alone."""
    for table in rebatch(blocks, step.batch_size):
        waiting = [table]
        while waiting:
            part = waiting.pop()
            try:
                # All of it before any goes on: what fails in the middle is done again in parts.
                made = list(_results(part, step, call))
            except Exception as error:  # noqa: BLE001 - the user's code
                if part.num_rows > 1:
                    middle = part.num_rows // 2
                    waiting += [part.slice(middle), part.slice(0, middle)]
                else:
                    failures.add(next(iter_rows(part)), error)
                continue
            yield from made


def _filter(
    blocks: Iterable[pa.Table], step: Filter, fn: Callable[[Any], Any]
) -> Iterator[pa.Table]:
    for block in blocks:
        try:
            keep = np.array([bool(fn(row)) for row in iter_rows(block)], bool)
        except Exception as error:
            _note(error, step)
            raise
        yield block if keep.all() else take_rows(block, np.flatnonzero(keep))


def _filter_what_works(
    blocks: Iterable[pa.Table], call: Callable[[Any], Any], failures: Failures
) -> Iterator[pa.Table]:
    def wanted(row: dict[str, Any]) -> bool:
        try:
            return bool(call(row))
        except Exception as error:  # noqa: BLE001 - the user's code
            failures.add(row, error)
            return False

    for block in blocks:
        keep = np.fromiter(map(wanted, iter_rows(block)), bool, block.num_rows)
        yield block if keep.all() else take_rows(block, np.flatnonzero(keep))


def _map_rows(
    blocks: Iterable[pa.Table], step: MapRows, fn: Callable[[Any], Any]
) -> Iterator[pa.Table]:
    made: list[Mapping[str, Any]] = []
    for block in blocks:
        for start in range(0, block.num_rows, ROWS_A_BLOCK):
            try:
                results = [fn(row) for row in iter_rows(block.slice(start, ROWS_A_BLOCK))]
            except Exception as error:
                _note(error, step)
                raise
            if set(map(type, results)) != {dict}:
                results = [_row(one, step) for one in results]
            made += results
            if len(made) >= ROWS_A_BLOCK:
                yield from_rows(made)
                made = []
    if made:
        yield from_rows(made)


def _rows(
    blocks: Iterable[pa.Table], step: FlatMap, call: Callable[[Any], Any]
) -> Iterator[Mapping[str, Any]]:
    for block in blocks:
        for row in iter_rows(block):
            for one in _drain(_several(call(row), step), step):
                yield _row(one, step)


def _several(result: Any, step: UdfStep) -> Iterator[Any]:
    row = isinstance(result, Mapping)
    if not row:
        with contextlib.suppress(TypeError):
            return iter(result)
    raise (ValueError if row else TypeError)(
        f"{step_name(step)} must give several rows, such as a list of dicts, "
        f"got {type(result).__name__}: {result!r:.80}"
    )


def _row(one: Any, step: UdfStep) -> Mapping[str, Any]:
    if isinstance(one, Mapping):
        return one
    raise ValueError(
        f"{step_name(step)} must give rows, that is dicts, got {type(one).__name__}: {one!r:.80}"
    )


def _rows_that_work(
    blocks: Iterable[pa.Table],
    step: MapRows | FlatMap,
    call: Callable[[Any], Any],
    failures: Failures,
) -> Iterator[Mapping[str, Any]]:
    """The same where the function may fail; of a row that fails in the middle nothing goes on."""
    columns: Mapping[str, Any] | None = None
    # Null rows before the first that works: until then it is not known which columns they have.
    held: list[Mapping[str, Any]] = []
    for block in blocks:
        for row in iter_rows(block):
            try:
                result = call(row)
                results = _several(result, step) if isinstance(step, FlatMap) else [result]
                made = [_row(one, step) for one in results]
            except Exception as error:  # noqa: BLE001 - the user's code
                failures.add(row, error)
                if failures.action == "null" and columns is None:
                    held.append(row)
                elif failures.action == "null":
                    yield dict.fromkeys(columns or ())
                continue
            if columns is None and made:
                columns = made[0]
                yield from (dict.fromkeys(columns) for _ in held)
                held = []
            yield from made
    yield from (dict.fromkeys(row) for row in held)


def _in_blocks(rows: Iterable[Mapping[str, Any]]) -> Iterator[pa.Table]:
    chunk: list[Mapping[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == ROWS_A_BLOCK:
            yield from_rows(chunk)
            chunk = []
    if chunk:
        yield from_rows(chunk)
