"""Parquet: footers say what there is; each task reads some row groups of one file.

Reads through `pyarrow.fs`, so that local paths and URIs go the same way. Nothing that a file
holds is unpickled.
"""

import fnmatch
import glob
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from heliostat.data.block import require_columns
from heliostat.data.datasource import ReadTask

__all__ = ["ParquetSource", "open_parquet"]

EXTENSIONS = (".parquet", ".pq")
FOOTER_THREADS = 16


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
    constants: tuple[tuple[str, str], ...] = ()

    @property
    def rows(self) -> int:
        """All its rows."""
        return sum(group.rows for group in self.row_groups)


@dataclass(frozen=True)
class ParquetTask:
    """Some row groups of one file, perhaps only their first rows."""

    file: ParquetFile
    row_groups: tuple[RowGroup, ...]
    filesystem: fs.FileSystem
    schema: pa.Schema
    options: tuple[tuple[str, Any], ...]
    row_limit: int | None = None

    @property
    def rows(self) -> int:
        """How many rows it will give."""
        rows = sum(group.rows for group in self.row_groups)
        return rows if self.row_limit is None else min(rows, self.row_limit)

    @property
    def size_bytes(self) -> int:
        """About how much that is in memory."""
        rows = max(1, sum(group.rows for group in self.row_groups))
        size = sum(group.size_bytes for group in self.row_groups)
        kept = len(self.schema) / max(1, len(self.file.schema))
        return int(size * min(1.0, kept) * self.rows / rows)

    def read(self) -> Iterator[pa.Table]:
        """The rows, one table for each task, or less where only the first rows are wanted."""
        constants = dict(self.file.constants)
        present = [name for name in self.schema.names if name in self.file.schema.names]
        numbers = [group.number for group in self.row_groups]
        try:
            with _open(self.file.path, self.filesystem, self.options) as opened:
                if self.row_limit is None:
                    table = opened.read_row_groups(numbers, columns=present)
                else:
                    batches = opened.iter_batches(
                        min(self.row_limit, 1 << 16), row_groups=numbers, columns=present
                    )
                    table = _first(batches, self.row_limit, opened.schema_arrow, present)
                rows = self.rows
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.file.path, error) from error
        yield self._fitted(table, rows, constants)

    def _fitted(self, table: pa.Table, rows: int, constants: dict[str, str]) -> pa.Table:
        """The table with exactly the columns and types of the whole source."""
        columns: list[Any] = []
        for wanted in self.schema:
            if wanted.name in table.column_names:
                column = table.column(wanted.name)
                columns.append(column if column.type == wanted.type else column.cast(wanted.type))
            elif wanted.name in constants:
                columns.append(pa.repeat(pa.scalar(constants[wanted.name]), rows))
            else:
                columns.append(pa.nulls(rows, wanted.type))
        return pa.table(columns, schema=self.schema)


@dataclass(frozen=True)
class ParquetSource:
    """Parquet files as one table."""

    files: tuple[ParquetFile, ...]
    filesystem: fs.FileSystem
    schema: pa.Schema
    options: tuple[tuple[str, Any], ...] = ()
    row_limit: int | None = None
    min_tasks: int = 1

    @property
    def rows(self) -> int:
        """From the footers."""
        rows = sum(file.rows for file in self.files)
        return rows if self.row_limit is None else min(rows, self.row_limit)

    @property
    def reads_in_driver(self) -> bool:
        """A disk is read best by Arrow's threads; a network by many workers at once."""
        return isinstance(self.filesystem, fs.LocalFileSystem) or len(self.files) == 1

    def describe(self) -> str:
        """Its name."""
        return "ReadParquet"

    def input_files(self) -> list[str]:
        """The paths."""
        return [file.path for file in self.files]

    def read_tasks(self, target_bytes: int) -> Sequence[ReadTask]:
        """Neighbouring row groups of a file together, up to the size."""
        total = sum(group.size_bytes for file in self.files for group in file.row_groups)
        target_bytes = max(1, min(target_bytes, total // self.min_tasks))
        tasks: list[ReadTask] = []
        left = self.rows
        for file in self.files:
            for groups in _grouped(file.row_groups, target_bytes):
                if left <= 0:
                    return tasks
                rows = sum(group.rows for group in groups)
                tasks.append(
                    ParquetTask(
                        # What a task does not read need not travel with it.
                        replace(file, row_groups=()),
                        groups,
                        self.filesystem,
                        self.schema,
                        self.options,
                        left if left < rows else None,
                    )
                )
                left -= rows
        return tasks

    def select(self, columns: tuple[str, ...]) -> "ParquetSource":
        """The same files, fewer columns."""
        require_columns(columns, self.schema.names, "select_columns")
        return replace(self, schema=pa.schema([self.schema.field(name) for name in columns]))

    def head(self, rows: int) -> "ParquetSource":
        """The same files, the first rows."""
        limit = rows if self.row_limit is None else min(rows, self.row_limit)
        return replace(self, row_limit=limit)


def open_parquet(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    filesystem: fs.FileSystem | None = None,
    columns: Sequence[str] | None = None,
    include_paths: bool = False,
    extensions: Sequence[str] | None = EXTENSIONS,
    ignore_missing_paths: bool = False,
    options: tuple[tuple[str, Any], ...] = (),
    min_tasks: int = 1,
) -> ParquetSource:
    """Find the files, read their footers and settle on one schema.

    Args:
        paths: Files, directories, globs or URIs.
        filesystem: Where they are, if the paths do not say.
        columns: What to keep.
        include_paths: Add a column `path`.
        extensions: Which files of a directory count; None for all.
        ignore_missing_paths: Leave out what is not there.
        options: For `pyarrow.parquet.ParquetFile`.
        min_tasks: Read in this many tasks at least, where there are row groups enough.

    Returns:
        The source.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if a directory has no Parquet file, or a file is not Parquet.
        KeyError: if a column does not exist.
    """
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed:
        raise ValueError("read_parquet got an empty list of paths; give at least one")
    found: list[tuple[str, str]] = []
    for one in listed:
        here, path = resolve(os.fspath(one), filesystem)
        if filesystem is not None and type(here) is not type(filesystem):
            raise ValueError(f"all paths must be on one filesystem; {one!r} is on another")
        filesystem = here
        found.extend(_find(path, here, os.fspath(one), extensions, ignore_missing_paths))
    if not found or filesystem is None:
        raise ValueError(f"no Parquet files in {listed}")
    with ThreadPoolExecutor(FOOTER_THREADS) as threads:
        files = list(
            threads.map(
                lambda one: _footer(one[0], one[1], filesystem, include_paths, options), found
            )
        )
    source = ParquetSource(
        tuple(files), filesystem, _common_schema(files), options, min_tasks=min_tasks
    )
    if columns is None:
        return source
    columns = list(columns)
    require_columns(columns, source.schema.names, "read_parquet")
    if include_paths and "path" not in columns:
        columns.append("path")
    return source.select(tuple(columns))


def resolve(path: str, filesystem: fs.FileSystem | None) -> tuple[fs.FileSystem, str]:
    """The filesystem of a path or URI, and the path on it.

    Args:
        path: A local path, or a URI such as `s3://anonymous@bucket/key`.
        filesystem: Use this one.

    Returns:
        Both.

    Raises:
        ValueError: if the URI's scheme is unknown.
    """
    if filesystem is not None:
        return filesystem, path.split("://", 1)[-1]
    if "://" not in path:
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(path))
    if path.startswith("s3://anonymous@"):
        return _anonymous_s3(path)
    try:
        found, inner = fs.FileSystem.from_uri(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"cannot use the URI {path!r}: {error}") from error
    return found, inner


def _anonymous_s3(uri: str) -> tuple[fs.FileSystem, str]:
    parts = urlsplit(uri)
    bucket = parts.netloc.split("@", 1)[1]
    query: dict[str, Any] = dict(parse_qsl(parts.query))
    known = {"region", "endpoint_override", "scheme"}
    if set(query) - known:
        raise ValueError(
            f"{uri!r}: unknown {sorted(set(query) - known)}; known are {sorted(known)}"
        )
    if "region" not in query and "endpoint_override" not in query:
        query["region"] = fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(anonymous=True, **query), unquote(bucket + parts.path)


def _find(
    path: str,
    filesystem: fs.FileSystem,
    given: str,
    extensions: Sequence[str] | None,
    ignore_missing: bool,
) -> list[tuple[str, str]]:
    """The files a path means, each with the directory its partitions are counted from."""
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.File:
        return [(path, os.path.dirname(path))]
    if info.type == fs.FileType.Directory:
        files = _list(path, filesystem, extensions)
        if not files and not ignore_missing:
            raise ValueError(
                f"no Parquet files in directory {given!r}"
                + (f" (looked for {', '.join(extensions)})" if extensions else "")
            )
        return [(file, path) for file in files]
    if any(sign in path for sign in "*?["):
        matched = _glob(path, filesystem)
        base = path[: min(path.find(sign) for sign in "*?[" if sign in path)]
        files = [
            file for one in matched for file, _ in _find(one, filesystem, one, extensions, True)
        ]
        if not files and not ignore_missing:
            raise FileNotFoundError(f"no file matches {given!r}")
        return [(file, os.path.dirname(base)) for file in files]
    if ignore_missing:
        return []
    raise FileNotFoundError(f"no such file or directory: {given!r}")


def _glob(pattern: str, filesystem: fs.FileSystem) -> list[str]:
    if isinstance(filesystem, fs.LocalFileSystem):
        return sorted(glob.glob(pattern, recursive=True))
    base = pattern[: min(pattern.find(sign) for sign in "*?[" if sign in pattern)]
    listed = filesystem.get_file_info(
        fs.FileSelector(base.rsplit("/", 1)[0], recursive=True, allow_not_found=True)
    )
    return sorted(one.path for one in listed if fnmatch.fnmatch(one.path, pattern))


def _list(path: str, filesystem: fs.FileSystem, extensions: Sequence[str] | None) -> list[str]:
    listed = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    endings = tuple("." + one.lstrip(".").lower() for one in extensions or ())
    files = []
    for info in listed:
        inner = info.path[len(path) :].strip("/").split("/")
        # Names that begin with a dot or an underscore are what writers keep for themselves.
        hidden = any(part.startswith((".", "_")) for part in inner)
        counts = not endings or info.path.lower().endswith(endings)
        if info.type == fs.FileType.File and counts and not hidden:
            files.append(info.path)
    return sorted(files)


def _open(
    path: str, filesystem: fs.FileSystem, options: tuple[tuple[str, Any], ...]
) -> pq.ParquetFile:
    # By its path alone Arrow opens a local file itself, which is a third faster.
    local = isinstance(filesystem, fs.LocalFileSystem)
    return pq.ParquetFile(path, filesystem=None if local else filesystem, **dict(options))


def _footer(
    path: str,
    base: str,
    filesystem: fs.FileSystem,
    include_paths: bool,
    options: tuple[tuple[str, Any], ...],
) -> ParquetFile:
    try:
        with _open(path, filesystem, options) as opened:
            metadata, schema = opened.metadata, opened.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    names = schema.names
    if len(set(names)) != len(names):
        raise ValueError(f"{path!r} has two columns with one name: {names}")
    groups = tuple(
        RowGroup(number, group.num_rows, group.total_byte_size)
        for number in range(metadata.num_row_groups)
        if (group := metadata.row_group(number)).num_rows
    )
    inner = os.path.dirname(path)[len(base) :].strip("/").split("/")
    constants = [
        (unquote(name), unquote(value))
        for name, sign, value in (part.partition("=") for part in inner)
        if sign and name not in names
    ]
    if include_paths:
        constants.append(("path", path))
    return ParquetFile(path, groups, schema.remove_metadata(), tuple(constants))


def _common_schema(files: Sequence[ParquetFile]) -> pa.Schema:
    whole = files[0].schema
    for file in files[1:]:
        if file.schema.equals(whole):
            continue
        try:
            whole = pa.unify_schemas([whole, file.schema], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(
                f"the columns of {file.path!r} do not fit those of the files before it, "
                f"{files[0].path!r} first: {error}"
            ) from error
    constants = dict.fromkeys(name for file in files for name, _ in file.constants)
    for name in constants:
        if name not in whole.names:
            whole = whole.append(pa.field(name, pa.string()))
    return whole


def _grouped(groups: Sequence[RowGroup], target_bytes: int) -> Iterator[tuple[RowGroup, ...]]:
    together: list[RowGroup] = []
    size = 0
    for group in groups:
        if together and size + group.size_bytes > target_bytes:
            yield tuple(together)
            together, size = [], 0
        together.append(group)
        size += group.size_bytes
    if together:
        yield tuple(together)


def _first(
    batches: Iterator[pa.RecordBatch], rows: int, schema: pa.Schema, names: list[str]
) -> pa.Table:
    taken = []
    for batch in batches:
        taken.append(batch.slice(0, rows))
        rows -= batch.num_rows
        if rows <= 0:
            break
    return pa.Table.from_batches(taken, schema=pa.schema([schema.field(name) for name in names]))


def _unreadable(path: str, error: Exception) -> Exception:
    """The error with the file's name; of the class that says what it is."""
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"no such file: {path!r}")
    if isinstance(error, PermissionError):
        return PermissionError(f"may not read {path!r}: {error}")
    if isinstance(error, pa.ArrowInvalid):
        return ValueError(f"cannot read {path!r} as Parquet: {error}")
    return OSError(f"cannot read {path!r}: {error}")
