"""What every reader takes besides its own arguments: typed for users, parsed once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from heliostat.data._failures import RAISE, OnError
from heliostat.data._plan import Tasks
from heliostat.data.compute import parse_on_error, parse_tasks
from heliostat.data.context import DataContext
from heliostat.data.datasource.files import (
    FileShuffleConfig,
    Shuffling,
)
from heliostat.data.datasource.partitioning import Partitioning

__all__ = [
    "FileOptions",
    "ReadOptions",
    "check_names",
    "of_files",
    "open_arguments",
    "own_options",
    "parse_place",
    "pieces",
    "shuffling",
]


class ReadOptions(TypedDict, total=False):
    """How reads are run. With any of these but the first two they are tasks of their own.

    Attributes:
        override_num_blocks: About how many tasks and blocks.
        parallelism: Older name of `override_num_blocks`.
        num_cpus: CPUs for each read.
        num_gpus: GPUs for each read.
        memory: Bytes for each read.
        concurrency: How many reads at once.
        label_selector: Labels of the machine; as for `remote`.
        fallback_strategy: As for `remote`.
        max_calls: Not offered.
        resources: Other resources for each read.
        accelerator_type: As for `remote`.
        runtime_env: The environment of the workers.
        ray_remote_args: All these in a dict; the older way.
    """

    override_num_blocks: int | None
    parallelism: int
    num_cpus: float | None
    num_gpus: float | None
    memory: float | None
    concurrency: int | None
    label_selector: dict[str, str] | None
    fallback_strategy: list[dict[str, Any]] | None
    max_calls: int | None
    resources: dict[str, float] | None
    accelerator_type: str | None
    runtime_env: dict[str, Any] | None
    ray_remote_args: Mapping[str, Any] | None


class FileOptions(ReadOptions, total=False):
    """Which files are read, and how they are opened.

    Attributes:
        filesystem: Where they are, if the paths do not say; of `pyarrow.fs` or fsspec.
        arrow_open_stream_args: `compression` and `buffer_size`; by default the end of a file's
            name tells how it is packed.
        partition_filter: A `PathPartitionFilter`, or a function from paths to those to read.
        partitioning: A `Partitioning`: directories become columns.
        include_paths: Add each row's file as column `path`.
        ignore_missing_paths: Leave out paths that do not exist.
        shuffle: `"files"` or a `FileShuffleConfig`: read the files in a random order.
        file_extensions: Which files count; None for all.
        on_error: What becomes of a file that cannot be read, by default what the context says:
            `"raise"`; `"skip"`; `"quarantine"`, which saves its path and the reason; and, where each
            file is one row, `"null"`. Of such a file nothing goes on, or all.
    """

    filesystem: Any
    arrow_open_stream_args: Mapping[str, Any] | None
    partition_filter: Callable[[list[str]], Sequence[str]] | None
    partitioning: Partitioning | None
    include_paths: bool
    ignore_missing_paths: bool
    shuffle: Literal["files"] | FileShuffleConfig | None
    file_extensions: str | Sequence[str] | None
    on_error: str | None


_NOT_REMOTE = ("concurrency", "override_num_blocks", "parallelism", "ray_remote_args")
_REMOTE = tuple(name for name in ReadOptions.__annotations__ if name not in _NOT_REMOTE)


def pieces(options: Mapping[str, Any]) -> int | None:
    """How many tasks were asked for, if the user said so here or in the context.

    Args:
        options: What a reader got.

    Returns:
        A number, or None.

    Raises:
        ValueError: if it is below 1.
    """
    wanted = options.get("override_num_blocks")
    if wanted is None:
        parallelism = options.get("parallelism", -1)
        if isinstance(parallelism, int) and parallelism > 0:
            return parallelism
        return DataContext.get_current().read_op_min_num_blocks
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        raise ValueError(f"override_num_blocks must be an int >= 1, got {wanted!r}")
    return wanted


def parse_place(options: Mapping[str, Any]) -> Tasks | None:
    """Where the user wants reads to run; None if nothing was said.

    Args:
        options: What a reader got.

    Returns:
        The place.

    Raises:
        ValueError: if an option makes no sense.
        NotImplementedError: if `max_calls` is given.
    """
    if options.get("max_calls") is not None:
        raise NotImplementedError(
            f"max_calls={options['max_calls']!r} is not offered for reads; leave it out"
        )
    remote = {name: options[name] for name in _REMOTE if options.get(name) is not None}
    remote.update(options.get("ray_remote_args") or {})
    concurrency = options.get("concurrency")
    return parse_tasks(concurrency, remote) if remote or concurrency is not None else None


def check_names(verb: str, options: Mapping[str, Any], known: type) -> None:
    """Refuse what no reader takes.

    Args:
        verb: The reader.
        options: What it got.
        known: A TypedDict.

    Raises:
        TypeError: that names the argument and those there are.
    """
    names = set(ReadOptions.__annotations__) | set(known.__annotations__)
    for name in options:
        if name not in names:
            raise TypeError(
                f"{verb}() got an unexpected argument {name!r}; "
                f"besides its own it takes {sorted(names)}"
            )


def own_options(
    verb: str, options: Mapping[str, Any], names: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell a reader's own options from those of every reader of files.

    Args:
        verb: The reader.
        options: What it got.
        names: Its own.

    Returns:
        Its own options, and the others.

    Raises:
        TypeError: if an option is neither.
    """
    known = (*names, *FileOptions.__annotations__)
    for name in options:
        if name not in known:
            raise TypeError(
                f"{verb}() got an unexpected argument {name!r}; it takes {sorted(known)}"
            )
    own = {name: value for name, value in options.items() if name in names}
    return own, {name: value for name, value in options.items() if name not in names}


def shuffling(shuffle: Any) -> Shuffling | None:
    """The order of files, if it is to be random.

    Args:
        shuffle: What the user said.

    Returns:
        What shuffles, or None.

    Raises:
        ValueError: if it is neither `"files"` nor a FileShuffleConfig.
    """
    if shuffle is None:
        return None
    if shuffle == "files":
        shuffle = FileShuffleConfig()
    if not isinstance(shuffle, FileShuffleConfig):
        raise ValueError(f'shuffle must be "files" or a FileShuffleConfig, got {shuffle!r}')
    return Shuffling(shuffle)


def of_files(options: Mapping[str, Any], verb: str, *, one_each: bool) -> OnError:
    """What becomes of files that cannot be read.

    Args:
        options: What a reader got.
        verb: The reader.
        one_each: It makes one row of each file.

    Returns:
        The policy.

    Raises:
        ValueError: if it is unknown, cannot be done, or there is no place for the reasons.
    """
    asked = options.get("on_error")
    if asked is None and DataContext.get_current().on_error == "null" and not one_each:
        return RAISE
    return parse_on_error(asked, verb, one_each=one_each)


def open_arguments(verb: str, given: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    """How files are opened.

    Args:
        verb: The reader.
        given: What it got.

    Raises:
        NotImplementedError: for what is not offered.
    """
    for name in given or {}:
        if name not in ("compression", "buffer_size"):
            raise NotImplementedError(
                f"{verb}: {name!r} of a stream's arguments is not offered; "
                "it takes compression and buffer_size"
            )
    return tuple((given or {}).items())
