"""An object of this process that gives rows: a dataset of torch or of Hugging Face, an iterator."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.block import from_rows
from heliostat.data.datasource.source import Part

__all__ = ["IterableSource", "row_of"]

ROWS_A_BLOCK = 4096


def row_of(element: Any) -> dict[str, Any]:
    """An element as a row: a dict as it is, another value in a column `item`.

    Args:
        element: Of TensorFlow, torch or Python.

    Returns:
        The row.
    """
    if isinstance(element, dict):
        return {str(name): _value(value) for name, value in element.items()}
    return {"item": _value(element)}


def _value(value: Any) -> Any:
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    if isinstance(value, tuple | list):
        return (tuple if isinstance(value, tuple) else list)(_value(one) for one in value)
    return value


@dataclass(frozen=True)
class IterableSource:
    """An object of this process that gives rows one after the other."""

    kind: str
    rows_of: Any
    by_index: bool = False

    schema = None
    # It can be read in this process alone: others would need a copy of it.
    reads_in_driver = True

    @property
    def rows(self) -> int | None:
        """As it says itself; else unknown."""
        return len(self.rows_of) if self.by_index else None

    def describe(self) -> str:
        """Its name."""
        return f"Read{self.kind}"

    def read_tasks(self, target_bytes: int) -> Sequence[Part]:
        """It is one part."""
        return [IterablePart(self.kind, self.rows_of, self.by_index, self.rows or 0)]

    def select(self, columns: tuple[str, ...]) -> None:
        """It gives all columns."""

    def head(self, rows: int) -> None:
        """It is read as far as rows are taken."""

    def input_files(self) -> list[str]:
        """None."""
        return []


@dataclass(frozen=True)
class IterablePart:
    """All of it."""

    kind: str
    rows_of: Any
    by_index: bool
    rows: int

    size_bytes = 0

    def read(self) -> Iterator[pa.Table]:
        """So many rows at a time."""
        elements = self.rows_of
        if self.by_index:
            elements = (self.rows_of[number] for number in range(len(self.rows_of)))
        rows: list[dict[str, Any]] = []
        for element in elements:
            # A torch element is one value, whatever it is.
            rows.append({"item": _value(element)} if self.kind == "Torch" else row_of(element))
            if len(rows) == ROWS_A_BLOCK:
                yield from_rows(rows)
                rows = []
        if rows:
            yield from_rows(rows)
