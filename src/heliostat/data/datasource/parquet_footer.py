"""Footers of Parquet files: what there is in them, before a row is read.

Those of files on a disk of this machine are kept, for as long as a file stays what it was.
"""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from heliostat.data._failures import OnError
from heliostat.data.arrays import schema_without_views
from heliostat.data.datasource.files import File, left_out, unreadable
from heliostat.data.datasource.retry import retrying

# So many are kept for the next time, of files that have not changed for so long.
KEPT = 1024
AGE_NS = 2_000_000_000
# A text by itself takes four bytes more than it has; its number, hardly more than one.
FEW_TEXT_BYTES = 2
# What a dictionary of a handful of texts takes in the file at most.
HANDFUL_BYTES = 2 << 10


class RowGroup(NamedTuple):
    """What the footer says about one row group."""

    number: int
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class ParquetFile:
    """One file, by its footer."""

    path: str
    row_groups: tuple[RowGroup, ...]
    schema: pa.Schema
    # Columns whose value is in the path (`year=2024/`), and perhaps the path itself.
    constants: tuple[tuple[str, Any], ...] = ()
    # Columns of texts, of which it has few different ones.
    few_texts: tuple[str, ...] = ()
    # Those of them that it has a handful of.
    handful: tuple[str, ...] = ()
    # Columns that have turned out to hold no NaN, which no footer says.
    no_nan: set[str] = field(default_factory=set, compare=False)
    # What it was known by when the footer was read.
    identity: tuple[Any, ...] | None = field(default=None, compare=False)

    @property
    def is_unchanged(self) -> bool:
        """Whether the file is still the one that the footer is of, for sure."""
        try:
            return self.identity is not None and _identity(self.path) == self.identity
        except OSError:
            return False

    @property
    def rows(self) -> int:
        """All its rows."""
        return sum(group.rows for group in self.row_groups)


def open_file(
    path: str,
    filesystem: fs.FileSystem,
    options: tuple[tuple[str, Any], ...],
    encoded: Sequence[str] = (),
) -> pq.ParquetFile:
    """The file, as Arrow reads it; the columns that are `encoded` as numbers of a dictionary."""
    # By its path alone Arrow opens a local file itself, a third faster; and fetches nothing ahead.
    local = isinstance(filesystem, fs.LocalFileSystem)
    source: Any = path if local else filesystem.open_input_file(path)
    how = {"pre_buffer": not local, **dict(options)}
    return pq.ParquetFile(source, read_dictionary=list(encoded) or None, **how)


def footer_of(
    file: File,
    filesystem: fs.FileSystem,
    options: tuple[tuple[str, Any], ...],
    on_error: OnError,
) -> ParquetFile | None:
    """What the footer says; None if it cannot be read, and the user wants to go on without it."""

    def read() -> ParquetFile:
        known = _identity(file.path) if isinstance(filesystem, fs.LocalFileSystem) else None
        if known is not None and known in _KNOWN:
            return _KNOWN[known]
        with open_file(file.path, filesystem, options) as opened:
            metadata, schema = opened.metadata, opened.schema_arrow
        groups = tuple(
            RowGroup(number, group.num_rows, group.total_byte_size)
            for number in range(metadata.num_row_groups)
            if (group := metadata.row_group(number)).num_rows
        )
        plain = schema_without_views(schema.remove_metadata())
        if len(set(plain.names)) != len(plain):
            raise ValueError(f"{file.path!r} has two columns with one name: {plain.names}")
        few = few_texts(metadata, schema)
        footer = ParquetFile(
            file.path, groups, plain, (), few, _handful(metadata, schema, few), identity=known
        )
        return footer if known is None else _kept(known, footer)

    try:
        footer = retrying(read, filesystem)
    except (pa.ArrowException, OSError) as error:
        made = unreadable(file.path, "Parquet", error)
        made.__cause__ = error
        left_out(file.path, "Parquet", on_error, made)
        return None
    if not file.constants:
        return footer
    names = footer.schema.names
    constants = tuple((name, value) for name, value in file.constants if name not in names)
    return replace(footer, constants=constants)


def few_texts(metadata: pq.FileMetaData, schema: pa.Schema) -> tuple[str, ...]:
    """Columns of texts whose pages are so small that they hold numbers of texts, not the texts."""
    if metadata.num_columns != len(schema):
        return ()
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return tuple(
        one.name
        for place, one in enumerate(schema)
        if pa.types.is_string(one.type)
        and all(
            group.column(place).total_uncompressed_size <= FEW_TEXT_BYTES * group.num_rows
            for group in groups
        )
    )


def _handful(metadata: pq.FileMetaData, schema: pa.Schema, few: Sequence[str]) -> tuple[str, ...]:
    """Those of these columns whose dictionaries are so small that they hold no more than a few hundred."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]

    def is_small(one: pq.ColumnChunkMetaData) -> bool:
        start = one.dictionary_page_offset if one.has_dictionary_page else None
        return start is not None and one.data_page_offset - start <= HANDFUL_BYTES

    places = {name: schema.names.index(name) for name in few}
    return tuple(name for name in few if all(is_small(one.column(places[name])) for one in groups))


# What footers said, of files that are what they were then.
_KNOWN: dict[tuple[Any, ...], ParquetFile] = {}
_KEEPING = threading.Lock()


def _kept(known: tuple[Any, ...], footer: ParquetFile) -> ParquetFile:
    """Keep it for the next time; with the schema of the last one, if they are alike: compared at once."""
    with _KEEPING:
        if known in _KNOWN:  # another thread was first
            return _KNOWN[known]
        last = next(reversed(_KNOWN.values()), None)
        if last is not None and last.schema.equals(footer.schema, check_metadata=True):
            footer = replace(footer, schema=last.schema)
        while len(_KNOWN) >= KEPT:
            del _KNOWN[next(iter(_KNOWN))]
        _KNOWN[known] = footer
    return footer


def _identity(path: str) -> tuple[Any, ...] | None:
    """What a file is known by; None if it is so new that another might look the same."""
    found = os.stat(path)
    if time.time_ns() - found.st_ctime_ns < AGE_NS:
        return None
    return path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
