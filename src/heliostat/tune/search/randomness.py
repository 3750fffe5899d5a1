"""Where the chance in a search comes from: a seed, a generator of numpy's, or neither.

numpy is loaded for a seed only: its bits are what a seed has always stood for. Without a seed numpy's
global generator counts, which cannot have been seeded before anybody has loaded it.
"""

import random
import sys
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np

# What users may give as a source of randomness; None is numpy's global one, so np.random.seed counts.
RandomState: TypeAlias = "int | np.random.Generator | np.random.RandomState | None"


class Rng(Protocol):
    """What domains draw with: the part of `numpy.random.Generator` that they need."""

    def uniform(self, low: float, high: float, /) -> float:
        """A real number in [low, high)."""

    def integers(self, low: int, high: int, /) -> Any:
        """A whole number in [low, high)."""

    def normal(self, mean: float, sd: float, /) -> float:
        """A normally distributed real number."""


class _Legacy:
    """numpy's older kind of generator, or what acts as one: its module of random functions."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def uniform(self, low: float, high: float, /) -> float:
        return float(self._source.uniform(low, high))

    def integers(self, low: int, high: int, /) -> int:
        return int(self._source.randint(low, high))

    def normal(self, mean: float, sd: float, /) -> float:
        return float(self._source.normal(mean, sd))


class _Unseeded:
    """Python's own generator, begun with what the system gives."""

    def __init__(self) -> None:
        self._random = random.Random()

    def uniform(self, low: float, high: float, /) -> float:
        return self._random.uniform(low, high)

    def integers(self, low: int, high: int, /) -> int:
        return self._random.randrange(low, high)

    def normal(self, mean: float, sd: float, /) -> float:
        return self._random.gauss(mean, sd)


def as_rng(random_state: RandomState) -> Rng:
    """Turn a seed, a generator of either kind, or None for numpy's global one, into what draws.

    Raises:
        ImportError: A seed was given, and numpy is not installed.
    """
    if random_state is None:
        loaded = sys.modules.get("numpy.random")
        return _Unseeded() if loaded is None else _Legacy(loaded)
    np = _numpy()
    if isinstance(random_state, np.random.RandomState):
        return _Legacy(random_state)
    generator: Rng = np.random.default_rng(random_state)  # itself, if it is one
    return generator


def apart_from_global() -> Rng:
    """A generator that begins where numpy's global one is, so that `np.random.seed` counts.

    A copy, because what others draw meanwhile must not change a study. The global one is moved far
    away, so that the next study is another.
    """
    if "numpy.random" not in sys.modules:
        return _Unseeded()
    np = _numpy()
    copy = np.random.RandomState()
    copy.set_state(np.random.get_state())
    np.random.seed(np.random.randint(2**31))
    return _Legacy(copy)


def _numpy() -> Any:
    """numpy, which only those wait for who need it."""
    try:
        import numpy as np  # noqa: PLC0415 - slow to load
    except ImportError as error:
        raise ImportError("random_state needs numpy: pip install numpy") from error
    return np
