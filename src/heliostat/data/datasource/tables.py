"""Tables that keep a log, by their own libraries: Delta, Iceberg and Lance.

Each library reads and writes in threads of its own, so the driver streams; a write is one
transaction of the table.
"""

import contextlib
import importlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from heliostat.data._commit import SaveMode
from heliostat.data.arrays import no_rows, refuse_objects, schema_without_views, without_views
from heliostat.data.block import Bundle, concat, require_columns
from heliostat.data.datasource.source import Part

__all__ = ["TableSource", "library", "streamed"]

# So much is looked at before a table is begun: the types of all of it fit together.
LOOK_BYTES = 32 << 20


def library(name: str, extra: str, verb: str) -> Any:
    """An optional package.

    Args:
        name: Of the module.
        extra: What brings it.
        verb: Who needs it.

    Returns:
        The module.

    Raises:
        ImportError: that says what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{verb} needs {name}: pip install 'heliostat[{extra}]'") from error


@dataclass(frozen=True)
class TableSource:
    """A table as its library reads it: a function from columns to record batches."""

    kind: str
    batches: Callable[[list[str] | None], Iterable[Any]] = field(repr=False)
    schema: pa.Schema
    columns: tuple[str, ...] | None = None

    reads_in_driver = True
    rows = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", schema_without_views(self.schema))

    def describe(self) -> str:
        """Its name."""
        return f"Read{self.kind}"

    def read_tasks(self, target_bytes: int) -> Sequence[Part]:
        """It is one part, which the library reads in threads."""
        return [TablePart(self)]

    def read(self) -> Iterator[pa.Table]:
        """Its batches; a table without rows if there are none."""
        empty = True
        names = None if self.columns is None else list(self.columns)
        for batch in self.batches(names):
            if batch.num_rows:
                empty = False
                table = without_views(pa.Table.from_batches([batch]))
                yield table if names is None else table.select(names)
        if empty:
            yield no_rows(self.schema)

    def select(self, columns: tuple[str, ...]) -> "TableSource":
        """The same table, fewer columns."""
        require_columns(columns, self.schema.names, "select_columns")
        fields = [self.schema.field(name) for name in columns]
        return replace(self, columns=columns, schema=pa.schema(fields))

    def head(self, rows: int) -> None:
        """It is read as far as rows are taken."""

    def input_files(self) -> list[str]:
        """None that we know of."""
        return []


@dataclass(frozen=True)
class TablePart:
    """All of a table."""

    source: TableSource

    rows = 0
    size_bytes = 0

    def read(self) -> Iterator[pa.Table]:
        """Its batches."""
        return self.source.read()


@contextlib.contextmanager
def streamed(
    bundles: Iterator[Bundle], columns: Callable[[], pa.Schema | None], mode: SaveMode
) -> Generator[pa.RecordBatchReader | None]:
    """Blocks as they are made, as what libraries take.

    Args:
        bundles: The blocks.
        columns: Tells the columns, once all blocks are made.
        mode: Of the write.

    Yields:
        The reader; None if there are neither blocks nor columns, and nothing to be done.

    Raises:
        ValueError: if there are neither, and there is something to be done.
        Exception: what the making of a block raised, not what the library made of it.
    """
    held = _first(bundles)
    if not held and (known := columns()) is not None and known.names:
        held = [no_rows(known)]
    if not held:
        if mode not in (SaveMode.APPEND, SaveMode.IGNORE):
            raise ValueError(
                f"mode={mode.value!r}: a dataset without rows, whose columns nobody knows, is no "
                "table; give it columns, as by from_arrow"
            )
        yield None
        return
    first = concat(held)
    schema = first.schema.remove_metadata()
    refuse_objects(schema, "a table")
    failed: list[BaseException] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from first.to_batches()
            for bundle in bundles:
                yield from _cast(bundle.table(), schema).to_batches()
        except GeneratorExit:  # the library has had enough, and says why itself
            raise
        except BaseException as error:
            failed.append(error)
            raise

    try:
        yield pa.RecordBatchReader.from_batches(schema, batches())
    except Exception:
        if failed:
            raise failed[0] from None
        raise


def _first(bundles: Iterator[Bundle]) -> list[pa.Table]:
    held: list[pa.Table] = []
    size = 0
    for bundle in bundles:
        held.append(bundle.table())
        size += bundle.size_bytes
        if size >= LOOK_BYTES:
            break
    return held


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns of the ones before it."""
    if strange := sorted(set(table.column_names) - set(schema.names)):
        raise ValueError(
            f"columns {strange} are in a later block only, when the table is begun; give all rows "
            "the same columns"
        )
    columns: list[Any] = []
    for wanted in schema:
        try:
            columns.append(
                table.column(wanted.name).cast(wanted.type)
                if wanted.name in table.column_names
                else pa.nulls(len(table), wanted.type)
            )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ValueError(
                f"column {wanted.name!r} is {wanted.type} in the first blocks and "
                f"{table.schema.field(wanted.name).type} in a later one ({error}); "
                "cast it to one type"
            ) from error
    return pa.table(columns, schema=schema)
