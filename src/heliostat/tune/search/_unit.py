"""A domain as the numbers from 0 to 1, for methods that search a cube.

A value is drawn with a generator that is no chance at all: it always lands at the same place.
"""

from statistics import NormalDist
from typing import Any

from heliostat.tune.search.sample import Categorical, Float, Integer

Searchable = Float | Integer | Categorical
_HALVINGS = 40


class _At:
    """Speaks like a generator of numpy's, and draws what lies at one place between 0 and 1."""

    def __init__(self, place: float) -> None:
        self._place = min(max(place, 0.0), 1.0)

    def uniform(self, low: float, high: float, /) -> float:
        return low + self._place * (high - low)

    def integers(self, low: int, high: int, /) -> int:
        return min(low + int(self._place * (high - low)), high - 1)

    def normal(self, mean: float, sd: float, /) -> float:
        return NormalDist(mean, sd).inv_cdf(min(max(self._place, 1e-6), 1 - 1e-6))


def to_value(domain: Searchable, place: float) -> Any:
    """The value of a domain at a place.

    Args:
        domain: The domain.
        place: From 0 to 1.

    Returns:
        The value.

    Example:
        >>> from heliostat import tune
        >>> to_value(tune.choice("abcd"), 0.6), to_value(tune.uniform(0, 10), 0.25)
        ('c', 2.5)
    """
    return domain.draw(_At(place), {})


def to_place(domain: Searchable, value: Any) -> float:
    """Where in its domain a value lies.

    Args:
        domain: The domain.
        value: A value of it.

    Returns:
        A place with that value, from 0 to 1.

    Example:
        >>> from heliostat import tune
        >>> round(to_place(tune.loguniform(1, 100), 10), 6)
        0.5
    """
    if isinstance(domain, Categorical):
        options = list(domain.categories)
        return (options.index(value) + 0.5) / len(options)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = to_value(domain, middle)
        if found == value:
            return middle
        low, high = (middle, high) if found < value else (low, middle)
    return (low + high) / 2
