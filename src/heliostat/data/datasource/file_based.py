"""Formats of your own: a `FileBasedDatasource` says how one file becomes blocks, and no more.

Which files there are, how they are shared out and opened, what their paths tell and what is tried
again is what every reader of files has; `read_datasource` makes it the same source.
"""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from heliostat.data.block import Block, BlockMetadata, from_batch
from heliostat.data.datasource.custom import Datasource, ReadTask
from heliostat.data.datasource.files import (
    FileSource,
    FileTask,
    OpenFile,
    with_constants,
)
from heliostat.data.datasource.partitioning import Partitioning
from heliostat.data.datasource.paths import Found, Paths, find, resolve
from heliostat.data.read_options import of_files, open_arguments, shuffling

__all__ = [
    "BaseFileMetadataProvider",
    "DefaultFileMetadataProvider",
    "FileBasedDatasource",
    "FileMetadataProvider",
]


class BaseFileMetadataProvider:
    """Which files there are, and what is known of them before they are read."""

    def _get_block_metadata(self, paths: list[str], **kwargs: Any) -> BlockMetadata:
        raise NotImplementedError(f"{type(self).__name__} must define _get_block_metadata")

    def __call__(self, paths: list[str], **kwargs: Any) -> BlockMetadata:
        """How many rows and bytes files have that are read together, as far as that is known."""
        return self._get_block_metadata(paths, **kwargs)

    def expand_paths(
        self,
        paths: list[str],
        filesystem: Any,
        partitioning: Partitioning | None = None,
        ignore_missing_paths: bool = False,
    ) -> Iterator[tuple[str, int | None]]:
        """The files that paths mean, and their sizes where these are known."""
        raise NotImplementedError(f"{type(self).__name__} must define expand_paths")


FileMetadataProvider = BaseFileMetadataProvider


class DefaultFileMetadataProvider(BaseFileMetadataProvider):
    """Files by name, their sizes as the filesystem has them.

    Example:
        >>> DefaultFileMetadataProvider()(["a"], rows_per_file=None, file_sizes=[10]).size_bytes
        10
    """

    def _get_block_metadata(
        self,
        paths: list[str],
        *,
        rows_per_file: int | None = None,
        file_sizes: Sequence[int | None] = (),
        **kwargs: Any,
    ) -> BlockMetadata:
        sizes = [size for size in file_sizes if size is not None]
        return BlockMetadata(
            None if rows_per_file is None else rows_per_file * len(paths),
            sum(sizes) if len(sizes) == len(file_sizes) else None,
        )

    def expand_paths(
        self,
        paths: list[str],
        filesystem: Any,
        partitioning: Partitioning | None = None,
        ignore_missing_paths: bool = False,
    ) -> Iterator[tuple[str, int | None]]:
        """All files below the paths, by name."""
        _, found = find(
            paths, kind="input", filesystem=filesystem, ignore_missing=ignore_missing_paths
        )
        for one in found:
            yield one.path, one.size


@dataclass(frozen=True)
class _Streams:
    """A user's `_read_stream` as a format of ours."""

    datasource: "FileBasedDatasource"
    schema = None
    in_driver = False
    expansion = 1.0
    row_columns = ()

    @property
    def name(self) -> str:
        """As in `ReadCSV`."""
        return self.datasource.get_name()

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """The blocks of one file."""
        with file.stream() as stream:
            for block in self.datasource._read_stream(stream, file.path):
                yield from_batch(block, f"{type(self.datasource).__name__}._read_stream")


class FileBasedDatasource(Datasource):
    """A source of files in a format of yours: a subclass defines `_read_stream(f, path)`.

    Args:
        paths: Files, directories, globs or URIs.
        schema: The columns, if they are known.
        open_stream_args: `compression` and `buffer_size`.
        meta_provider: Lists the files.
        filesystem, partition_filter, partitioning, include_paths, ignore_missing_paths, shuffle,
        file_extensions, on_error: As for every reader of files, see `FileOptions`.
        **others: None: how it is read (`concurrency`, `num_cpus`, ...) is told `read_datasource`.

    Raises:
        TypeError: if an argument is none of these.
        FileNotFoundError: if a path does not exist.
        ValueError: if there are no files.

    Example:
        >>> import pathlib
        >>> import tempfile
        >>> import heliostat as ray
        >>> class Words(FileBasedDatasource):
        ...     def _read_stream(self, f, path):
        ...         yield {"word": f.read().decode().split()}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = pathlib.Path(folder, "a.words").write_text("one two")
        ...     ray.data.read_datasource(Words(folder)).take_all()
        [{'word': 'one'}, {'word': 'two'}]
    """

    def __init__(
        self,
        paths: Paths,
        *,
        schema: pa.Schema | None = None,
        open_stream_args: Mapping[str, Any] | None = None,
        meta_provider: BaseFileMetadataProvider | None = None,
        filesystem: Any = None,
        partition_filter: Any = None,
        partitioning: Partitioning | None = None,
        include_paths: bool = False,
        ignore_missing_paths: bool = False,
        shuffle: Any = None,
        file_extensions: str | Sequence[str] | None = None,
        on_error: str | None = None,
        **others: Any,
    ) -> None:
        for name, value in others.items():
            raise TypeError(
                f"{type(self).__name__}({name}={value!r}): a FileBasedDatasource takes no {name!r}; "
                "give read_datasource what is about how it is read"
            )
        self._provider = meta_provider or DefaultFileMetadataProvider()
        where, found = find(
            paths,
            kind=self.get_name(),
            filesystem=filesystem,
            extensions=file_extensions,
            ignore_missing=ignore_missing_paths,
        )
        if type(self._provider) is not DefaultFileMetadataProvider:
            listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
            inner = [resolve(one, filesystem)[1] for one in listed]
            found = [
                Found(path, os.path.dirname(path), size or 0)
                for path, size in self._provider.expand_paths(
                    inner, where, partitioning, ignore_missing_paths
                )
            ]
        files = with_constants(found, partitioning, partition_filter, include_paths)
        if not files:
            raise ValueError(f"no files are left of {paths!r}")
        self._schema = schema
        self._source = FileSource(
            tuple(files),
            where,
            _Streams(self),
            open_arguments(type(self).__name__, open_stream_args),
            shuffling=shuffling(shuffle),
            on_error=of_files({"on_error": on_error}, type(self).__name__, one_each=False),
        )

    def _read_stream(self, f: Any, path: str) -> Iterator[Block]:
        """The blocks of one file, which is open and unpacked; a subclass says how."""
        raise NotImplementedError(f"{type(self).__name__} must define _read_stream")

    def _rows_per_file(self) -> int | None:
        """How many rows each file has, if that is always the same."""
        return None

    def estimate_inmemory_data_size(self) -> int | None:
        """The sizes of the files together."""
        return sum(file.size for file in self._source.files)

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: Any = None,
    ) -> list[ReadTask]:
        """Neighbouring files together, in no more tasks than asked for."""
        tasks: list[ReadTask] = []
        # Each task has its own files: the others need not travel with it.
        alone = copy.copy(self)
        del alone._source
        source = replace(self._source, format=_Streams(alone), min_tasks=parallelism)
        for part in source.read_tasks(1 << 62):
            assert isinstance(part, FileTask)
            known = self._provider(
                [file.path for file in part.files],
                rows_per_file=self._rows_per_file(),
                file_sizes=[file.size for file in part.files],
            )
            tasks.append(ReadTask(part.read, known, self._schema, per_task_row_limit))
        return tasks
