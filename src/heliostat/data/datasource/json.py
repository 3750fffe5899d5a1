"""JSON: one object a line by Arrow, or one document a file."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from heliostat.data.block import from_rows, to_batch
from heliostat.data.datasource.datasink import ENDINGS, BlockBasedFileDatasink
from heliostat.data.datasource.files import OpenFile
from heliostat.data.datasource.writers import accepted

__all__ = ["EXTENSIONS", "JsonDatasink", "JsonFormat"]

_PACKED = ("", ".gz", ".bz2", ".br", ".zst", ".lz4")
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


_LINES = {"orient": "records", "lines": True}


class JsonDatasink(BlockBasedFileDatasink):
    """Writes JSON: an object a line, or as pandas does it by the arguments.

    Args:
        path: The directory.
        arguments: For `DataFrame.to_json`.
        **options: Of every sink of files.
    """

    in_driver = True

    def __init__(self, path: Any, arguments: Mapping[str, Any], **options: Any) -> None:
        import pandas as pd  # noqa: PLC0415 - half a second that readers need not spend

        own = accepted("write_json", arguments, pd.DataFrame.to_json)
        # pandas packs files of its own only, and would leave these as they are.
        packing = own.pop("compression", None)
        if isinstance(packing, str) and packing in ENDINGS:
            given = options.get("open_stream_args") or {}
            options["open_stream_args"] = {"compression": packing, **given}
        elif packing not in (None, "infer"):
            raise ValueError(f"write_json(compression={packing!r}): use one of {[*ENDINGS]}")
        if own.pop("storage_options", None) is not None:
            raise NotImplementedError(
                "write_json(storage_options=...) is not offered; give a filesystem"
            )
        super().__init__(path, file_format="json", **options)
        self._arguments = {**_LINES, **own}
        if self._arguments["orient"] != "records":
            self._arguments["lines"] = arguments.get("lines", False)

    def write_table(self, table: pa.Table, file: Any) -> None:
        """Write the rows."""
        if self._arguments != _LINES or not table.num_columns:
            file.write(_by_pandas(table, self._arguments).encode())
            return
        parts: list[Any] = []
        for name in table.column_names:
            start = f"{',' if parts else '{'}{json.dumps(name)}:"
            parts += [_text(start), _texts(table, name)]
        lines = pc.binary_join_element_wise(*parts, _text("}\n"), _text(""))
        for chunk in lines.chunks:
            _, offsets, content = chunk.buffers()
            ends = np.frombuffer(offsets, np.int64)[chunk.offset :]
            file.write(content.slice(ends[0], ends[len(chunk)] - ends[0]))


def _text(text: str) -> Any:
    return pa.scalar(text, pa.large_string())


def _texts(table: pa.Table, name: str) -> Any:
    """The values of a column as JSON: numbers as they are, which pandas would round."""
    column: Any = table.column(name)
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        texts = column.cast(pa.large_string())
    elif pa.types.is_float32(kind) or pa.types.is_float64(kind):
        texts = column.cast(pa.large_string())
        whole = pc.invert(pc.match_substring_regex(texts, "[.e]"))
        texts = pc.if_else(whole, pc.binary_join_element_wise(texts, _text(".0"), _text("")), texts)
        texts = pc.if_else(pc.is_finite(column), texts, None)
    elif (pa.types.is_string(kind) or pa.types.is_large_string(kind)) and not pc.any(
        pc.match_substring_regex(column, r"[^ !#-\[\]-~]")
    ).as_py():
        quote = _text('"')
        texts = pc.binary_join_element_wise(quote, column.cast(pa.large_string()), quote, _text(""))
    else:
        lines = _by_pandas(table.select([name]), _LINES).split("\n")[:-1]
        start = len(_by_pandas(pa.table({name: [1]}), _LINES)) - len("1}\n")
        texts = pa.chunked_array([[line[start:-1] for line in lines]], pa.large_string())
    return texts.fill_null("null")


def _by_pandas(table: pa.Table, arguments: Mapping[str, Any]) -> str:
    import pandas as pd  # noqa: PLC0415 - half a second that readers need not spend

    frame = to_batch(table, "pandas")
    typed = arguments["orient"] == "table"  # which says what the type is
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        column = table.column(name)
        if (column.null_count and pa.types.is_integer(kind)) or _rounds_ints(column):
            # pandas would make floats of them; its oldest versions of its own Int64, too.
            values = pd.Series(column.to_pylist(), dtype=object)
            frame[name] = values.astype("Int64") if typed and pa.types.is_integer(kind) else values
        elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            _check_text(name, column)
    text: str = frame.to_json(**{"double_precision": 15, **arguments})
    return text


def _rounds_ints(column: Any) -> bool:
    """Whether pandas would make floats of whole numbers, which are within lists beside nulls."""
    if pa.types.is_struct(column.type):
        return True
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        return False
    values = pc.list_flatten(column, recursive=True)
    whole = pa.types.is_integer(values.type) and values.null_count > 0
    return whole or pa.types.is_nested(values.type)


def _check_text(name: str, column: Any) -> None:
    try:
        column.cast(pa.large_string())
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"JSON cannot hold the bytes in column {name!r}, which are no text in UTF-8; encode "
            "them, such as by base64"
        ) from error
