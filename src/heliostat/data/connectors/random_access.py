"""Rows found by a key: sorted once, shared out among actors, each of which searches its own."""

import bisect
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

import heliostat
from heliostat.data.block import iter_rows
from heliostat.data.dataset import Dataset

__all__ = ["RandomAccessDataset"]


class RandomAccessDataset:
    """What `Dataset.to_random_access_dataset` gives: rows by their key, from actors that hold them.

    Args:
        ds: The rows.
        key: The column; of rows with the same key one is found.
        num_workers: How many actors.

    Raises:
        KeyError: If there is no such column.
        ValueError: If there are no rows, a key is null, or there is to be no actor.

    Example:
        >>> import heliostat as ray
        >>> squares = ray.data.range(100).map(lambda row: {**row, "square": row["id"] ** 2})
        >>> found = squares.to_random_access_dataset("id", num_workers=2)
        >>> ray.get(found.get_async(9))
        {'id': 9, 'square': 81}
        >>> found.multiget([3, 100])
        [{'id': 3, 'square': 9}, None]
    """

    def __init__(self, ds: Dataset, key: str, num_workers: int) -> None:
        if num_workers < 1:
            raise ValueError(f"num_workers must be >= 1, got {num_workers!r}")
        began = time.perf_counter()
        rows = ds.sort(key).to_arrow()
        if not rows.num_rows:
            raise ValueError("to_random_access_dataset: the dataset has no rows")
        if rows.column(key).null_count:
            raise ValueError(f"to_random_access_dataset: the key {key!r} is null in some rows")
        each = -(-rows.num_rows // num_workers)
        parts = [rows.slice(start, each) for start in range(0, rows.num_rows, each)]
        self._firsts = [part.column(key)[0].as_py() for part in parts]
        holder: Any = heliostat.remote(_Holder)
        self._holders: list[Any] = [holder.options(num_cpus=0).remote(part, key) for part in parts]
        self._asked: Counter[int] = Counter()
        self._build_s = time.perf_counter() - began

    def get_async(self, key: Any) -> Any:
        """The row of a key.

        Args:
            key: Its value.

        Returns:
            A reference to the row as a dict, or to None.
        """
        number = self._place(key)
        return self._holders[number].find.remote([key], only=True)

    def multiget(self, keys: Sequence[Any]) -> list[dict[str, Any] | None]:
        """The rows of some keys, in their order; None where there is none.

        Args:
            keys: Their values.
        """
        shares: dict[int, list[int]] = {}
        for position, key in enumerate(keys):
            shares.setdefault(self._place(key), []).append(position)
        refs = [
            self._holders[number].find.remote([keys[position] for position in positions])
            for number, positions in shares.items()
        ]
        found: list[dict[str, Any] | None] = [None] * len(keys)
        for positions, rows in zip(shares.values(), heliostat.get(refs), strict=True):
            for position, row in zip(positions, rows, strict=True):
                found[position] = row
        return found

    def stats(self) -> str:
        """How long it took to build, how many rows each actor has, and how often each was asked."""
        sizes = heliostat.get([holder.size.remote() for holder in self._holders])
        asked = [self._asked[number] for number in range(len(sizes))]
        return (
            f"RandomAccessDataset: built in {self._build_s:.3f} s\n"
            f"- {len(sizes)} actors, rows each: {min(sizes)} to {max(sizes)}\n"
            f"- keys asked for: {sum(asked)}, of one actor {min(asked)} to {max(asked)}\n"
        )

    def _place(self, key: Any) -> int:
        number = max(bisect.bisect_right(self._firsts, key) - 1, 0)
        self._asked[number] += 1
        return number


class _Holder:
    """An actor's share of the rows, sorted by the key."""

    def __init__(self, rows: pa.Table, key: str) -> None:
        self._rows, self._type = rows, rows.schema.field(key).type
        self._keys = rows.column(key).to_numpy()

    def size(self) -> int:
        return self._rows.num_rows

    def find(self, keys: list[Any], only: bool = False) -> Any:
        """The row of each key or None; of `only` one key, not in a list."""
        wanted = pa.array(keys, self._type).to_numpy(zero_copy_only=False)
        places = np.searchsorted(self._keys, wanted)
        there = [
            place < len(self._keys) and self._keys[place] == key
            for place, key in zip(places, wanted, strict=True)
        ]
        rows = iter_rows(self._rows.take(places[there])) if any(there) else iter(())
        found = [next(rows) if is_there else None for is_there in there]
        return found[0] if only else found
