"""Values in paths: `year=2024/` or `2024/`, as columns and as a way to leave files out."""

import enum
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote

from heliostat.data.datasource.paths import resolve

__all__ = ["PartitionStyle", "Partitioning", "PathPartitionFilter", "PathPartitionParser"]

PartitionValue: TypeAlias = str | int | float | bool | None


class PartitionStyle(enum.StrEnum):
    """How values are written into paths.

    Example:
        >>> PartitionStyle("hive") is PartitionStyle.HIVE
        True
    """

    HIVE = "hive"
    DIRECTORY = "dir"


@dataclass(frozen=True)
class Partitioning:
    """How the directories above a file name values.

    Args:
        style: `"hive"` for `year=2024/month=1/`, `"dir"` for `2024/1/`.
        base_dir: Where the partitions begin; by default "hive" takes those of the whole path, and
            "dir" those below the path that was given.
        field_names: The columns, in order; `"dir"` needs them.
        field_types: Their types, where they are not strings: `int`, `float`, `bool`.
        filesystem: Where `base_dir` is.

    Raises:
        ValueError: if the style needs names and there are none.

    Example:
        >>> Partitioning("dir", field_names=["year"]).field_names
        ['year']
    """

    style: PartitionStyle | str
    base_dir: str | None = None
    field_names: Sequence[str] | None = None
    field_types: Mapping[str, type] | None = None
    filesystem: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "style", PartitionStyle(self.style))
        if self.style is PartitionStyle.DIRECTORY and not self.field_names:
            raise ValueError('partitioning "dir" needs field_names, one for each directory')
        for name, kind in (self.field_types or {}).items():
            if kind not in (str, int, float, bool):
                raise ValueError(
                    f"field_types[{name!r}] must be str, int, float or bool, got {kind!r}"
                )

    def values(self, path: str, base: str) -> dict[str, PartitionValue]:
        """The values that the path of a file names.

        Args:
            path: Of the file, on its filesystem.
            base: Where partitions begin, if `base_dir` does not say.

        Returns:
            Column to value.

        Raises:
            ValueError: if it names other directories than were announced.
        """
        if self.base_dir is not None:
            base = resolve(self.base_dir, self.filesystem)[1]
        elif self.style == "hive":
            base = ""
        directory = os.path.dirname(path)
        base = base.rstrip("/")
        if base and directory != base and not directory.startswith(f"{base}/"):
            return {}
        parts = [part for part in directory[len(base) :].split("/") if part]
        named = self._hive(parts, path) if self.style == "hive" else self._dir(parts, path)
        return {name: self._typed(name, value, path) for name, value in named.items()}

    def _hive(self, parts: list[str], path: str) -> dict[str, str]:
        pairs = [part.split("=", 1) for part in parts if "=" in part]
        # What has a question mark is an address with a query.
        named = {unquote(name): unquote(value) for name, value in pairs if "?" not in name}
        if self.field_names is not None and named and list(named) != list(self.field_names):
            raise ValueError(
                f"the directories of {path!r} name {list(named)}, "
                f"but field_names is {list(self.field_names)}"
            )
        return named

    def _dir(self, parts: list[str], path: str) -> dict[str, str]:
        names = list(self.field_names or ())
        if parts and len(parts) != len(names):
            raise ValueError(
                f"{path!r} has {len(parts)} directories below its base, but field_names is {names}"
            )
        return {name: unquote(value) for name, value in zip(names, parts, strict=False) if name}

    def _typed(self, name: str, value: str, path: str) -> PartitionValue:
        kind = (self.field_types or {}).get(name, str)
        if value == "__HIVE_DEFAULT_PARTITION__":
            return None
        if kind is bool:
            return value.lower() == "true"
        try:
            typed: PartitionValue = kind(value)
        except ValueError as error:
            raise ValueError(f"{name}={value!r} in {path!r} is no {kind.__name__}") from error
        return typed


class PathPartitionParser:
    """Tells the values that a path names.

    Args:
        partitioning: How they are written.

    Example:
        >>> parser = PathPartitionParser.of("hive", base_dir="/data")
        >>> parser("/data/year=2024/a.csv")
        {'year': '2024'}
    """

    def __init__(self, partitioning: Partitioning) -> None:
        self._partitioning = partitioning

    @staticmethod
    def of(
        style: PartitionStyle | str = PartitionStyle.HIVE,
        base_dir: str | None = None,
        field_names: Sequence[str] | None = None,
        field_types: Mapping[str, type] | None = None,
        filesystem: Any = None,
    ) -> "PathPartitionParser":
        """A parser; see `Partitioning` for the arguments.

        Args:
            style: `"hive"` or `"dir"`.
            base_dir: Where the partitions begin.
            field_names: The columns, in order.
            field_types: Their types, where they are not strings.
            filesystem: Where `base_dir` is.

        Returns:
            The parser.
        """
        return PathPartitionParser(
            Partitioning(style, base_dir, field_names, field_types, filesystem)
        )

    @property
    def scheme(self) -> Partitioning:
        """How values are written.

        Returns:
            The partitioning.
        """
        return self._partitioning

    def __call__(self, path: str) -> dict[str, PartitionValue]:
        """The values of a path.

        Args:
            path: Of a file.

        Returns:
            Column to value; without a `base_dir` all its directories count.
        """
        base = "" if path.startswith("/") else "."
        return self._partitioning.values(path if base == "" else f"./{path}", base)


class PathPartitionFilter:
    """Reads only the files whose path's values a function likes.

    Args:
        path_partition_parser: Tells the values.
        filter_fn: Takes them as a dict of strings; true keeps the file.

    Example:
        >>> recent = PathPartitionFilter.of(lambda values: values["year"] == "2024")
        >>> recent(["/a/year=2023/x.csv", "/a/year=2024/x.csv"])
        ['/a/year=2024/x.csv']
    """

    def __init__(
        self,
        path_partition_parser: PathPartitionParser,
        filter_fn: Callable[[dict[str, Any]], bool],
    ) -> None:
        self._parser = path_partition_parser
        self._filter_fn = filter_fn

    @staticmethod
    def of(
        filter_fn: Callable[[dict[str, Any]], bool],
        style: PartitionStyle | str = PartitionStyle.HIVE,
        base_dir: str | None = None,
        field_names: Sequence[str] | None = None,
        field_types: Mapping[str, type] | None = None,
        filesystem: Any = None,
    ) -> "PathPartitionFilter":
        """A filter; see `Partitioning` for the other arguments.

        Args:
            filter_fn: Takes the values as a dict; true keeps the file.
            style: `"hive"` or `"dir"`.
            base_dir: Where the partitions begin.
            field_names: The columns, in order.
            field_types: Their types, where they are not strings.
            filesystem: Where `base_dir` is.

        Returns:
            The filter.
        """
        parser = PathPartitionParser.of(style, base_dir, field_names, field_types, filesystem)
        return PathPartitionFilter(parser, filter_fn)

    @property
    def parser(self) -> PathPartitionParser:
        """What tells the values.

        Returns:
            The parser.
        """
        return self._parser

    def apply(self, path: str) -> bool:
        """Whether to read a file.

        Args:
            path: Of the file.

        Returns:
            True to read it.
        """
        return bool(self._filter_fn(self._parser(path)))

    def __call__(self, paths: Iterable[str]) -> list[str]:
        """The files to read.

        Args:
            paths: Of files.

        Returns:
            Those that are kept.
        """
        return [path for path in paths if self.apply(path)]
