"""Lines of text, and files as they are: one row a line, one row a file."""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from heliostat.data.datasource.files import OpenFile

__all__ = ["BinaryFormat", "TextFormat"]

CHUNK_BYTES = 16 << 20


@dataclass(frozen=True)
class TextFormat:
    """One row a line, in a column `text`."""

    encoding: str = "utf-8"
    drop_empty_lines: bool = True

    name = "Text"
    in_driver = True
    expansion = 1.5
    row_columns = ()
    schema = pa.schema([("text", pa.string())])

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """A table for each so many bytes."""

        decoder = codecs.getincrementaldecoder(self.encoding)()
        left = ""
        done = 0
        with file.stream() as stream:
            while chunk := stream.read(CHUNK_BYTES):
                try:
                    text = decoder.decode(chunk)
                except UnicodeDecodeError as error:
                    raise ValueError(
                        f"not {self.encoding} near byte {done + error.start}: {error.reason}; "
                        "give encoding=..."
                    ) from error
                done += len(chunk)
                left += text
                # Behind a line feed, so that no end of a line of two characters is cut.
                end = left.rfind("\n") + 1
                yield self._table(left[:end].splitlines())
                left = left[end:]
        yield self._table((left + decoder.decode(b"", final=True)).splitlines())

    def _table(self, lines: list[str]) -> pa.Table:
        if self.drop_empty_lines:
            lines = [line for line in lines if line.strip()]
        return pa.table({"text": pa.array(lines, pa.string())})


@dataclass(frozen=True)
class BinaryFormat:
    """One row a file, in a column `bytes`."""

    name = "Binary"
    in_driver = True
    expansion = 1.0
    row_columns = ("bytes",)
    schema = pa.schema([("bytes", pa.binary())])

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """Its content."""
        yield pa.table({"bytes": pa.array([file.content()], pa.binary())})
