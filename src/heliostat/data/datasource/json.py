"""JSON: one object a line by Arrow, or one document a file."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import json as arrow_json

from heliostat.data.block import from_rows, to_batch
from heliostat.data.datasource.datasink import BlockBasedFileDatasink, accepted
from heliostat.data.datasource.files import OpenFile

__all__ = ["EXTENSIONS", "JsonDatasink", "JsonFormat"]

_PACKED = ("", ".gz", ".br", ".zst", ".lz4")
EXTENSIONS = tuple(f"{name}{packed}" for name in ("json", "jsonl") for packed in _PACKED)


@dataclass(frozen=True)
class JsonFormat:
    """Objects one after the other, or an array of them; the options are Arrow's."""

    lines: bool = False
    read_options: Any = None
    parse_options: Any = None

    name = "JSON"
    in_driver = True
    expansion = 1.5
    row_columns = ()
    schema = None

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """One table."""
        content = file.content()
        start = content[:4096].lstrip()
        if not start:
            if content.strip():
                yield from self._objects(content)
            return
        if start.startswith(b"[") and not self.lines:
            yield _document(content)
        else:
            yield from self._objects(content)

    def _objects(self, content: bytes) -> Iterator[pa.Table]:
        options = self.read_options
        if options is None:
            # An object that is cut by the end of a piece is an error to Arrow.
            options = arrow_json.ReadOptions(block_size=max(1 << 20, min(len(content), 1 << 30)))
        try:
            yield arrow_json.read_json(
                io.BytesIO(content), read_options=options, parse_options=self.parse_options
            )
        except pa.ArrowInvalid:
            if self.lines or self.parse_options is not None:
                raise
            try:
                table = _document(content)
            except ValueError:
                table = None
            if table is None:
                raise
            yield table


def _document(content: bytes) -> pa.Table:
    value = json.loads(content)
    rows = value if isinstance(value, list) else [value]
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"element {number} is no object: {row!r:.80}")
    return from_rows(rows)


class JsonDatasink(BlockBasedFileDatasink):
    """Writes JSON by pandas, an object a line unless it is told otherwise.

    Args:
        path: The directory.
        arguments: For `DataFrame.to_json`.
        **options: Of every sink of files.
    """

    in_driver = True

    def __init__(self, path: Any, arguments: Mapping[str, Any], **options: Any) -> None:
        import pandas as pd  # noqa: PLC0415 - half a second that readers need not spend

        super().__init__(path, file_format="json", **options)
        own = accepted("write_json", arguments, pd.DataFrame.to_json)
        self._arguments = {"orient": "records", "lines": True, **own}
        if self._arguments["orient"] != "records":
            self._arguments["lines"] = arguments.get("lines", False)

    def write_table(self, table: pa.Table, file: Any) -> None:
        """Write the rows."""
        import pandas as pd  # noqa: PLC0415 - half a second that readers need not spend

        frame = to_batch(table, "pandas")
        for name, kind in zip(table.column_names, table.schema.types, strict=True):
            if table.column(name).null_count and pa.types.is_integer(kind):
                # pandas would make floats of them; its oldest versions of its own Int64, too.
                values = pd.Series(table.column(name).to_pylist(), dtype=object)
                typed = self._arguments["orient"] == "table"  # which says what the type is
                frame[name] = values.astype("Int64") if typed else values
        file.write(frame.to_json(**self._arguments).encode())
