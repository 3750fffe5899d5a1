"""One pass over rows in batches: how it is cut, how far it is, and how it can be taken up again."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa

from heliostat.data._batching import rebatch, shuffled

T = TypeVar("T")


@dataclass(frozen=True)
class Cut:
    """How rows become batches.

    Raises:
        ValueError: if a number makes no sense.
    """

    batch_size: int | None
    drop_last: bool
    shuffle_rows: int | None
    seed: int | None

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size must be >= 1 or None, got {self.batch_size!r}")
        if self.shuffle_rows is not None and self.batch_size is None:
            raise ValueError("local_shuffle_buffer_size needs a batch_size")
        if self.shuffle_rows is not None and self.shuffle_rows < 1:
            raise ValueError(f"local_shuffle_buffer_size must be >= 1, got {self.shuffle_rows}")


class Pass:
    """A pass and its position.

    Args:
        cut: How it is cut; without a seed it draws one, so that it can be told.
        batches: How many batches it has given.
    """

    def __init__(self, cut: Cut, batches: int = 0) -> None:
        if cut.shuffle_rows and cut.seed is None:
            cut = replace(cut, seed=int(np.random.default_rng().integers(1 << 62)))
        self.cut = cut
        self.batches = batches

    def state(self) -> dict[str, Any]:
        """Position and cut as plain values."""
        return {
            "batches": self.batches,
            "batch_size": self.cut.batch_size,
            "drop_last": self.cut.drop_last,
            "local_shuffle_buffer_size": self.cut.shuffle_rows,
            "local_shuffle_seed": self.cut.seed,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The pass that a state tells of.

        Args:
            state: What `state` gave.

        Returns:
            The pass.

        Raises:
            ValueError: if it is something else.
        """
        try:
            cut = Cut(
                state["batch_size"],
                state["drop_last"],
                state["local_shuffle_buffer_size"],
                state["local_shuffle_seed"],
            )
            return cls(cut, int(state["batches"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a state of a DataIterator: {state!r}") from error

    def of(self, cut: Cut) -> Self:
        """Itself, to be gone on with by a pass that is cut so.

        Args:
            cut: How the new pass is cut.

        Returns:
            Itself.

        Raises:
            ValueError: if that is not how it was cut.
        """
        same = replace(cut, seed=self.cut.seed) if cut.seed is None else cut
        if same != self.cut:
            raise ValueError(
                f"the state is of a pass with {self.cut}, which cannot be gone on with by {cut}"
            )
        return self


class Passes(Iterator[T]):
    """What can be gone through again: each loop over it is a pass of its own, as with Ray.

    Once `next` was called on it, it is that pass and no other, as any iterator.

    Args:
        begin: Begins a pass. It is called at once, so that what is wrong is told at once.

    Example:
        >>> passes = Passes(lambda: (number for number in (1, 2)))
        >>> [list(passes), list(passes)], next(passes), list(passes)
        ([[1, 2], [1, 2]], 1, [2])
    """

    def __init__(self, begin: Callable[[], Generator[T]]) -> None:
        self._begin = begin
        self._first: Generator[T] | None = begin()
        self._own: Generator[T] | None = None

    def __iter__(self) -> Iterator[T]:
        # Not kept here, so that it ends when the loop is left.
        return self._new() if self._own is None else self

    def __next__(self) -> T:
        if self._own is None:
            self._own = self._new()
        return next(self._own)

    def _new(self) -> Generator[T]:
        first, self._first = self._first, None
        return self._begin() if first is None else first

    def close(self) -> None:
        """End the pass that `next` has begun."""
        if self._own is not None:
            self._own.close()


def cut_tables(blocks: Iterable[pa.Table], this: Pass, slab: int = 1) -> Iterator[pa.Table]:
    """The rows of each batch that has not been given yet, or of some batches together.

    Args:
        blocks: In order, from the first.
        this: How they are cut, and how many batches have been given.
        slab: How many batches may be together in a table.

    Yields:
        Tables.
    """
    cut, given, size = this.cut, this.batches, this.cut.batch_size
    if cut.shuffle_rows:
        assert size is not None
        blocks = shuffled(blocks, cut.shuffle_rows, size, cut.seed)
    for table in rebatch(blocks, size, drop_last=cut.drop_last, slab=slab):
        here = 1 if size is None else -(-table.num_rows // size)
        if given < here:
            yield table.slice(given * (size or 0))
        given = max(0, given - here)


def after(blocks: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The blocks without so many rows at their beginning.

    Example:
        >>> [one.to_pydict() for one in after([pa.table({"a": [1, 2]}), pa.table({"a": [3]})], 1)]
        [{'a': [2]}, {'a': [3]}]
    """
    for block in blocks:
        yield block.slice(rows) if rows else block
        rows = max(0, rows - block.num_rows)


def sliced(slabs: Iterable[dict[str, Any]], batch_size: int) -> Iterator[dict[str, Any]]:
    """Batches as views of larger ones.

    Example:
        >>> [batch["a"] for batch in sliced([{"a": "abcde"}], 2)]
        ['ab', 'cd', 'e']
    """
    for slab in slabs:
        rows = min((len(column) for column in slab.values()), default=0)
        for start in range(0, rows, batch_size):
            yield {name: column[start : start + batch_size] for name, column in slab.items()}
