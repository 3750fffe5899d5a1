"""Tables that keep a log, by their own libraries: Delta, Iceberg and Lance.

Each library reads and writes in threads of its own, so the driver streams; a write is one
transaction of the table.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from heliostat.data.arrays import no_rows, refuse_objects, schema_without_views, without_views
from heliostat.data.block import Bundle, require_columns
from heliostat.data.datasource.source import Part

__all__ = ["TableSource", "library", "stream"]


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


def stream(bundles: Iterator[Bundle]) -> pa.RecordBatchReader | None:
    """Blocks as they are made, as what libraries take.

    Args:
        bundles: The blocks.

    Returns:
        The reader; None if there are no blocks.
    """
    first = next(bundles, None)
    if first is None:
        return None
    schema = first.table().schema.remove_metadata()
    refuse_objects(schema, "a table")

    def batches() -> Iterator[pa.RecordBatch]:
        yield from first.table().to_batches()
        for bundle in bundles:
            yield from bundle.table().cast(schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())
