"""CSV by Arrow: types are found over the whole file, or in its beginning where it is large."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import csv

from heliostat.data.datasource.datasink import BlockBasedFileDatasink
from heliostat.data.datasource.files import OpenFile
from heliostat.data.datasource.writers import accepted, write_columns

__all__ = ["EXTENSIONS", "CsvDatasink", "CsvFormat"]

EXTENSIONS = ("csv", "csv.gz", "csv.br", "csv.zst", "csv.lz4")
# Above this a file is read in pieces, and its first piece decides about types.
WHOLE_BYTES = 256 << 20


@dataclass(frozen=True)
class CsvFormat:
    """Rows of a CSV file; the options are Arrow's."""

    read_options: Any = None
    parse_options: Any = None
    convert_options: Any = None

    name = "CSV"
    in_driver = True
    expansion = 1.5
    row_columns = ()
    schema = None

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """One table, or several of a large file."""
        convert = self.convert_options
        if columns and convert is None:
            convert = csv.ConvertOptions(include_columns=list(columns))
        options = {
            "read_options": self.read_options,
            "parse_options": self.parse_options,
            "convert_options": convert,
        }
        try:
            with file.stream() as stream:
                if file.size <= WHOLE_BYTES:
                    yield csv.read_csv(stream, **options)
                    return
                with csv.open_csv(stream, **options) as reader:
                    for batch in reader:
                        yield pa.Table.from_batches([batch])
        except pa.ArrowInvalid as error:
            if "Empty CSV file" in str(error):
                return
            if "parse error" in str(error) and file.size <= WHOLE_BYTES:
                self._explain(file, options)
            if "conversion error" not in str(error):
                raise
            raise ValueError(
                f"{error}; say what it is by "
                "convert_options=pyarrow.csv.ConvertOptions(column_types={...})"
            ) from error

    def _explain(self, file: OpenFile, options: dict[str, Any]) -> None:
        """Raise the error again with the number of the row, which only one thread knows."""
        alone = copy.copy(self.read_options or csv.ReadOptions())
        alone.use_threads = False
        with file.stream() as stream:
            csv.read_csv(stream, **{**options, "read_options": alone})


class CsvDatasink(BlockBasedFileDatasink):
    """Writes CSV by Arrow.

    Args:
        path: The directory.
        arguments: For `pyarrow.csv.write_csv`.
        **options: Of every sink of files.
    """

    in_driver = True

    def __init__(self, path: Any, arguments: Mapping[str, Any], **options: Any) -> None:
        super().__init__(path, file_format="csv", **options)
        self._arguments = accepted("write_csv", arguments, csv.write_csv)
        self.tells_columns = getattr(arguments.get("write_options"), "include_header", True)

    def write_table(self, table: pa.Table, file: Any) -> None:
        """Write the rows."""
        for field in table.schema:
            if pa.types.is_nested(field.type) or isinstance(field.type, pa.BaseExtensionType):
                raise ValueError(
                    f"CSV cannot hold column {field.name!r} of type {field.type}; "
                    "drop it or turn it into text"
                )
        write_columns(table, file, self._write)

    def _write(self, table: pa.Table, file: Any) -> None:
        if table.num_columns == 1 and table.column(0).null_count:
            # To readers an empty line is no row, and two quotes are null.
            texts: Any = table.column(0).cast(pa.string())
            texts = texts.fill_null("")
            table = pa.table([texts], names=table.column_names)
        csv.write_csv(table, file, **self._arguments)
