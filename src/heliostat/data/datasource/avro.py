"""Avro, by fastavro."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from heliostat.data.block import from_rows
from heliostat.data.datasource.files import OpenFile

__all__ = ["AvroFormat"]

ROWS_A_TABLE = 8192


def fastavro() -> Any:
    """The package.

    Returns:
        The module.

    Raises:
        ImportError: if it is not installed; says what to install.
    """
    try:
        import fastavro as module  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise ImportError("read_avro needs fastavro: pip install 'heliostat[avro]'") from error
    return module


@dataclass(frozen=True)
class AvroFormat:
    """Records as rows."""

    name = "Avro"
    in_driver = False
    expansion = 2.0
    row_columns = ()
    schema = None

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """Its records, so many at a time."""
        with file.stream() as stream:
            found = iter(fastavro().reader(stream))
            while rows := list(itertools.islice(found, ROWS_A_TABLE)):
                if not isinstance(rows[0], dict):
                    rows = [{"item": row} for row in rows]
                yield from_rows(rows)
