"""ORC, by Arrow: one table for each stripe."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import orc

from heliostat.data.arrays import refuse_objects
from heliostat.data.block import require_columns
from heliostat.data.datasource.datasink import BlockBasedFileDatasink
from heliostat.data.datasource.files import OpenFile
from heliostat.data.datasource.writers import accepted, refuse_packing, write_columns

__all__ = ["EXTENSIONS", "OrcDatasink", "OrcFormat"]

EXTENSIONS = ("orc",)


@dataclass(frozen=True)
class OrcFormat:
    """Stripes as tables."""

    name = "ORC"
    in_driver = True
    expansion = 3.0
    row_columns = ()
    schema = None

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """Its stripes."""
        with file.random_access() as opened:
            reader: Any = orc.ORCFile(opened)
            names = reader.schema.names
            if columns is not None:
                require_columns(columns, names, f"{file.path!r}")
            wanted = None if columns is None else list(columns)
            if not reader.nstripes:
                yield reader.schema.empty_table().select(names if wanted is None else wanted)
            for number in range(reader.nstripes):
                batch = reader.read_stripe(number, columns=wanted)
                yield pa.Table.from_batches([batch])


class OrcDatasink(BlockBasedFileDatasink):
    """Writes ORC by Arrow.

    Args:
        path: The directory.
        arguments: For `pyarrow.orc.write_table`.
        **options: Of every sink of files.
    """

    in_driver = True

    def __init__(self, path: Any, arguments: dict[str, Any], **options: Any) -> None:
        refuse_packing("write_orc", options)
        super().__init__(path, file_format="orc", **options)
        self._arguments = accepted("write_orc", arguments, orc.write_table)

    def write_table(self, table: pa.Table, file: Any) -> None:
        """Write the rows."""
        refuse_objects(table.schema, "write_orc")
        arguments = self._arguments
        write_columns(table, file, lambda rows, file: orc.write_table(rows, file, **arguments))
