"""Sources that users write: a `Datasource` gives `ReadTask`s, each a function that gives blocks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from heliostat.data.block import Block, BlockMetadata, from_batch
from heliostat.data.datasource.source import Part

__all__ = ["CustomSource", "Datasource", "ReadTask", "Reader"]

# How many tasks are asked for if the user says nothing.
PARALLELISM = 16


class ReadTask:
    """A part of a source: a function that gives blocks, and what is known about them beforehand.

    Args:
        read_fn: Called in a worker; gives blocks (Arrow tables, DataFrames, dicts of columns).
        metadata: How many rows and bytes it will give, as far as known.
        schema: The columns, if they are known.
        per_task_row_limit: Give no more rows than this.

    Example:
        >>> import pyarrow as pa
        >>> task = ReadTask(lambda: [pa.table({"a": [1, 2]})], BlockMetadata(2, 16))
        >>> [block.num_rows for block in task()]
        [2]
    """

    def __init__(
        self,
        read_fn: Callable[[], Iterable[Block]],
        metadata: BlockMetadata,
        schema: pa.Schema | None = None,
        per_task_row_limit: int | None = None,
    ) -> None:
        self.read_fn = read_fn
        self.metadata = metadata
        self.schema = schema
        self.per_task_row_limit = per_task_row_limit

    @property
    def rows(self) -> int:
        """How many rows it will give; 0 if only reading tells."""
        rows = self.metadata.num_rows or 0
        return rows if self.per_task_row_limit is None else min(rows, self.per_task_row_limit)

    @property
    def size_bytes(self) -> int:
        """About how many bytes; 0 if only reading tells."""
        return self.metadata.size_bytes or 0

    def __call__(self) -> Iterator[Block]:
        """The blocks.

        Yields:
            Arrow tables.

        Raises:
            ValueError: if the function gives something else.
        """
        left = self.per_task_row_limit
        result = self.read_fn()
        if not isinstance(result, Iterable) or isinstance(result, pa.Table | dict):
            raise ValueError(
                f"read_fn of a ReadTask must give a list of blocks or yield them, "
                f"got {type(result).__name__}: return [block] instead of block"
            )
        for one in result:
            block = from_batch(one, "read_fn")
            if left is not None:
                block = block.slice(0, left)
                left -= block.num_rows
            yield block
            if left is not None and left <= 0:
                return

    def read(self) -> Iterator[pa.Table]:
        """The blocks, as what runs them calls it.

        Returns:
            Arrow tables.
        """
        return self()


class Reader:
    """What gives ReadTasks for a `Datasource` that defines `create_reader`; an older way.

    Example:
        >>> issubclass(Datasource, Reader)
        False
    """

    def estimate_inmemory_data_size(self) -> int | None:
        """About how many bytes the rows will take in memory; None if that is not known."""
        return None

    def get_read_tasks(self, parallelism: int, **kwargs: Any) -> Sequence[ReadTask]:
        """The parts to read, in order; about as many as asked for."""
        raise NotImplementedError(f"{type(self).__name__} must define get_read_tasks")


class Datasource:
    """Where rows come from; a class of yours with `get_read_tasks` reads whatever you like.

    Example:
        >>> import heliostat as ray
        >>> import pyarrow as pa
        >>> class Letters(ray.data.Datasource):
        ...     def get_read_tasks(self, parallelism, per_task_row_limit=None, data_context=None):
        ...         def read(letter):
        ...             return [pa.table({"letter": [letter]})]
        ...         return [
        ...             ray.data.ReadTask(lambda one=one: read(one), BlockMetadata(1, None))
        ...             for one in "ab"
        ...         ]
        >>> ray.data.read_datasource(Letters()).take_all()
        [{'letter': 'a'}, {'letter': 'b'}]
    """

    def get_name(self) -> str:
        """How it is called in plans and progress.

        Returns:
            The name of the class, without "Datasource" at its end.
        """
        name = type(self).__name__
        return name.removesuffix("Datasource") or name

    def create_reader(self, **read_args: Any) -> "Datasource | Reader":
        """What gives ReadTasks: older sources make a `Reader` of themselves here."""
        return self

    def estimate_inmemory_data_size(self) -> int | None:
        """About how many bytes its rows will take in memory.

        Returns:
            Bytes, or None if that is not known.
        """
        return None

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: Any = None,
    ) -> Sequence[ReadTask]:
        """The parts to read, in order.

        Args:
            parallelism: About how many are wanted.
            per_task_row_limit: No part needs to give more rows than this.
            data_context: The knobs of the execution.

        Raises:
            NotImplementedError: unless a subclass says how.
        """
        raise NotImplementedError(f"{type(self).__name__} must define get_read_tasks")

    @property
    def supports_distributed_reads(self) -> bool:
        """Whether its parts can be read in other processes than the driver.

        Returns:
            True, unless a subclass says otherwise.
        """
        return True


@dataclass(frozen=True)
class CustomSource:
    """A user's Datasource as a source of ours."""

    datasource: Datasource
    parallelism: int | None = None
    schema: pa.Schema | None = None
    rows: int | None = None

    @property
    def reads_in_driver(self) -> bool:
        """Only if it cannot be read elsewhere."""
        return not self.datasource.supports_distributed_reads

    def describe(self) -> str:
        """Its name."""
        return f"Read{self.datasource.get_name()}"

    def read_tasks(self, target_bytes: int) -> Sequence[Part]:
        """As the user's class cuts it."""
        source = self.datasource.create_reader()
        size = source.estimate_inmemory_data_size() or 0
        wanted = self.parallelism or max(PARALLELISM, -(-size // target_bytes))
        tasks = list(source.get_read_tasks(wanted))
        for task in tasks:
            if not isinstance(task, ReadTask):
                raise TypeError(
                    f"{type(self.datasource).__name__}.get_read_tasks must give ReadTasks, "
                    f"got {type(task).__name__}"
                )
        return tasks

    def select(self, columns: tuple[str, ...]) -> None:
        """It gives all columns."""

    def head(self, rows: int) -> None:
        """It cannot tell its first rows."""

    def input_files(self) -> list[str]:
        """None that we know of."""
        return []
