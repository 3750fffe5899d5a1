"""A table of measurements beside their baseline; it knows nothing of what is measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One measurement: our values, the baseline's (may be none), which direction is better.

    `goal` is the ratio we promise, for instance 10.0 for "at least ten times better".
    """

    name: str
    unit: str
    better: Literal["less", "more"]
    ours: tuple[float, ...]
    baseline: tuple[float, ...] = ()
    goal: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better the median of ours is; None without a baseline.

        >>> Row("start", "s", "less", ours=(0.5,), baseline=(5.0, 6.0, 4.0)).ratio
        10.0
        """
        if not self.baseline:
            return None
        ours, baseline = median(self.ours), median(self.baseline)
        return baseline / ours if self.better == "less" else ours / baseline


def show(rows: Iterable[Row], baseline: str) -> None:
    """Print the table. A ratio above 1 means that ours is better."""
    print(f"\n{'':<34}{'heliostat':>14}{baseline:>14}{'ratio':>9}{'goal':>8}")
    for row in rows:
        theirs = f"{median(row.baseline):,.4g} {row.unit}" if row.baseline else "-"
        ratio = "-" if row.ratio is None else f"{row.ratio:,.2f}x"
        goal = "" if row.goal is None else f">={row.goal:g}x"
        missed = row.goal is not None and row.ratio is not None and row.ratio < row.goal
        print(
            f"{row.name:<34}{f'{median(row.ours):,.4g} {row.unit}':>14}{theirs:>14}"
            f"{ratio:>9}{goal:>8}{'  MISSED' if missed else ''}"
        )
