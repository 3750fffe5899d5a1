"""What a plan reads from, and the part of it that one task reads: two small protocols."""

from collections.abc import Iterator, Sequence
from typing import Protocol, Self

import pyarrow as pa

__all__ = ["Part", "Source", "reads_anew"]


class Part(Protocol):
    """A part of a source that one task reads. Travels to workers; holds no rows."""

    @property
    def rows(self) -> int:
        """How many rows it will give; 0 if only reading tells."""

    @property
    def size_bytes(self) -> int:
        """About how many bytes they will take in memory."""

    def read(self) -> Iterator[pa.Table]:
        """The rows, in order."""


class Source(Protocol):
    """Something that can be read in parts, with what its metadata tells."""

    @property
    def schema(self) -> pa.Schema | None:
        """The columns it gives, if they are known before it is read."""

    @property
    def rows(self) -> int | None:
        """How many rows it gives, if that is known before it is read."""

    @property
    def reads_in_driver(self) -> bool:
        """Whether the driver may read it in place when nobody else has to."""

    def describe(self) -> str:
        """How it is called in plans and progress."""

    def read_tasks(self, target_bytes: int) -> Sequence[Part]:
        """The parts, in order, each of about this size at most."""

    def select(self, columns: tuple[str, ...]) -> Self | None:
        """The same source with these columns only, or None if it cannot leave any out."""

    def head(self, rows: int) -> Self | None:
        """The same source with exactly the first rows, or None if it cannot tell them."""

    def input_files(self) -> list[str]:
        """The files it reads, if it reads files."""


def reads_anew(one: Part | Source) -> bool:
    """Whether what is read lies in memory of its own each time, so that it may be written to.

    Args:
        one: A source, or a part of one.

    Returns:
        False unless it says so by an attribute of this name.
    """
    return getattr(one, "reads_anew", False) is True
