"""Run a write: blocks become parts, parts are written in workers or by threads, a sink ends it.

Parts are numbered in the order of the rows. It knows nothing of files.
"""

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

import heliostat
from heliostat._shared_directory import check_shared
from heliostat.data._spill import give_back_in_thrift
from heliostat.data.arrays import no_rows
from heliostat.data.block import Block, Bundle, concat
from heliostat.data.datasource.datasink import Datasink, FileDatasink, TaskContext, WriteResult

__all__ = ["WriteOptions", "begun", "run_write"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WriteOptions:
    """How a write is shared out.

    Attributes:
        concurrency: How many parts at once.
        remote: Options of the tasks; with any, parts are written by tasks.
        min_rows: As many rows in each part but the last.
        max_rows: No more rows in a part.
        min_bytes: As many bytes in each part, or more.
    """

    concurrency: int | None = None
    remote: Mapping[str, Any] | None = None
    min_rows: int | None = None
    max_rows: int | None = None
    min_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("concurrency", "min_rows", "max_rows", "min_bytes"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or value != int(value) or value < 1):
                said = name if name == "concurrency" else f"{name}_per_file"
                raise ValueError(f"{said} must be an int >= 1, got {value!r}")
        if self.min_rows and self.max_rows and self.min_rows > self.max_rows:
            raise ValueError(
                f"min_rows_per_file={self.min_rows} is above max_rows_per_file={self.max_rows}"
            )


def run_write(
    bundles: Iterator[Bundle],
    schema: pa.Schema | None,
    sink: Datasink[Any],
    options: WriteOptions,
    found: Callable[[], pa.Schema | None] = lambda: None,
) -> None:
    """Write all blocks to a sink.

    Args:
        bundles: The blocks, which are made as they are taken.
        schema: The columns, if they are known.
        sink: Where to.
        options: How.
        found: The columns, once all blocks are made.

    Raises:
        Exception: what the sink or the blocks' making raised, after the sink was told.
    """
    if isinstance(sink, FileDatasink) and not begun(sink, options):
        return
    try:
        sink.on_write_start(schema)
        write = _way(sink, options)
        results = list(write(parts(bundles, options), sink, options))
        if not results and isinstance(sink, FileDatasink) and sink.tells_columns:
            known = found() if schema is None else schema
            if known is not None and known.names:
                results = [_write(sink, 0, [no_rows(known)])]
        sink.on_write_complete(
            WriteResult(
                sum(rows for rows, _, _ in results),
                sum(size for _, size, _ in results),
                [returned for _, _, returned in results],
            )
        )
    except BaseException as error:
        with contextlib.suppress(AttributeError):
            bundles.close()  # type: ignore[attr-defined]  # if it is a generator
        _tell(sink, error)
        raise


def begun(sink: FileDatasink, options: WriteOptions, **places: str) -> bool:
    """Look at what is there, and make a place to write to; False if there is nothing to do.

    `places` are other directories that tasks write to, by the arguments that name them.

    Raises:
        ValueError: if tasks would write on several machines, to a directory that this one has alone.
    """
    if _way(sink, options) is _in_tasks and len(nodes := heliostat.nodes()) > 1:
        for what, place in {"path": sink.path, **places}.items():
            check_shared(what, place, nodes)
    return sink.begin()


def _tell(sink: Datasink[Any], error: BaseException) -> None:
    try:
        sink.on_write_failed(error)  # type: ignore[arg-type]  # also for Ctrl-C
    except Exception:  # the user's code; what led here is the error to raise
        logger.exception("%s.on_write_failed raised", type(sink).__name__)


def _way(sink: Datasink[Any], options: WriteOptions) -> Any:
    """How parts are written: by tasks, by threads, or one after the other where they were made."""
    in_driver = isinstance(sink, FileDatasink) and (sink.in_driver or not sink.is_local)
    if not sink.supports_distributed_writes:
        return _in_threads if in_driver else _in_place
    return _in_threads if in_driver and not options.remote else _in_tasks


def parts(bundles: Iterable[Bundle], options: WriteOptions) -> Iterator[list[Bundle]]:
    """Blocks as parts of the sizes that were asked for; a block each, if nothing was."""
    rows_each = options.min_rows or options.max_rows
    together: list[Bundle] = []
    rows = size = 0
    for bundle in bundles:
        start = 0
        while start < bundle.rows:
            take = bundle.rows - start
            if rows_each is not None:
                take = min(take, rows_each - rows)
            part = bundle.view(start, take)
            start += take
            together.append(part)
            rows += take
            size += part.size_bytes
            if _full(rows, size, bundle.rows == start, options):
                yield together
                together, rows, size = [], 0, 0
    if together:
        yield together


def _full(rows: int, size: int, at_end: bool, options: WriteOptions) -> bool:
    if options.min_rows is not None:
        return rows >= options.min_rows
    if options.max_rows is not None and rows >= options.max_rows:
        return True
    return at_end and size >= (options.min_bytes or 0)


def _in_place(
    groups: Iterator[list[Bundle]], sink: Datasink[Any], options: WriteOptions
) -> Iterator[tuple[int, int, Any]]:
    for number, group in enumerate(groups):
        yield _write(sink, number, [bundle.table() for bundle in group])


def _in_threads(
    groups: Iterator[list[Bundle]], sink: Datasink[Any], options: WriteOptions
) -> Iterator[tuple[int, int, Any]]:
    size = options.concurrency or os.cpu_count() or 1
    flying: deque[Any] = deque()
    with ThreadPoolExecutor(size, thread_name_prefix="heliostat-data-write") as threads:
        for number, group in enumerate(groups):
            tables = [bundle.table() for bundle in group]
            flying.append(threads.submit(_write, sink, number, tables))
            while len(flying) > size or (flying and flying[0].done()):
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()


def _in_tasks(
    groups: Iterator[list[Bundle]], sink: Datasink[Any], options: WriteOptions
) -> Iterator[tuple[int, int, Any]]:
    # Without a wish of the user's no CPU is asked for: what makes the rows may hold them all.
    wishes = {"num_cpus": 0, "name": f"Write{sink.get_name()}", **(options.remote or {})}
    remote: Any = heliostat.remote(_write_views).options(**wishes)
    many = options.concurrency or max(1, int(heliostat.cluster_resources().get("CPU", 1)))
    shared = heliostat.put(sink)
    flying: deque[Any] = deque()
    try:
        for number, group in enumerate(groups):
            views = [(bundle.start, bundle.rows) for bundle in group]
            blocks = [bundle.cell.share() for bundle in group]
            flying.append(remote.remote(shared, number, views, *blocks))
            while len(flying) >= many:
                yield heliostat.get(flying.popleft())
        while flying:
            yield heliostat.get(flying.popleft())
    finally:
        for ref in flying:
            heliostat.cancel(ref)


def _write_views(
    sink: Datasink[Any], number: int, views: Sequence[tuple[int, int]], *blocks: Block
) -> tuple[int, int, Any]:
    tables = [block.slice(*view) for block, view in zip(blocks, views, strict=True)]
    return _write(sink, number, tables)


def _write(sink: Datasink[Any], number: int, tables: list[Block]) -> tuple[int, int, Any]:
    context = TaskContext(number, sink.get_name())
    if isinstance(sink, FileDatasink):
        context.kwargs["write_uuid"] = sink.write_uuid
        # A part is a file, however many blocks it lies in.
        tables = [concat(tables)]
    returned = sink.write(iter(tables), context)
    give_back_in_thrift()
    rows = sum(table.num_rows for table in tables)
    return rows, sum(table.nbytes for table in tables), returned
