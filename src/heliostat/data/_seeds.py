"""Seeds: the same order each time, or another one each time that can be had again.

A plan that asks for the latter holds a `Reseeding`; `_plan.settled` puts a number in its place, once
an execution and before anything is sent anywhere.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["RandomSeedConfig", "Reseeding", "parse_seed"]


@dataclass(frozen=True)
class RandomSeedConfig:
    """What a seed means to a dataset that is run more than once.

    Args:
        seed: An int, or None for a new order each time.
        reseed_after_execution: With a seed: whether each execution has another order, the same
            ones in the same succession when the program is run again; else all have one.
        use_timestamp_as_default: Without a seed the order is new each time, with or without this.

    Raises:
        ValueError: if the seed is no int.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.range(100).random_shuffle(seed=RandomSeedConfig(7))
        >>> ds.take_all() == ds.take_all()
        False
    """

    seed: int | None = None
    reseed_after_execution: bool = True
    use_timestamp_as_default: bool = False

    def __post_init__(self) -> None:
        if self.seed is not None and (isinstance(self.seed, bool) or self.seed != int(self.seed)):
            raise ValueError(f"seed must be an int or None, got {self.seed!r}")


class Reseeding(int):
    """Stands in a plan where a seed stands: another one is drawn for each execution.

    Args:
        seed: What all of them come from.
    """

    def __init__(self, seed: int) -> None:
        self._executions = itertools.count()

    def __repr__(self) -> str:
        return f"{int(self)}, another for each execution"

    def draw(self) -> int:
        """The seed of the next execution."""
        mixed = np.random.SeedSequence([int(self), next(self._executions)])
        return int(mixed.generate_state(1, np.uint64)[0] >> np.uint64(1))


def parse_seed(seed: Any, verb: str) -> int | None:
    """What a verb was given as a seed, as what a plan holds.

    Args:
        seed: An int, a RandomSeedConfig, or None.
        verb: Who asks.

    Returns:
        An int, a Reseeding, or None.

    Raises:
        TypeError: if it is something else.
    """
    if isinstance(seed, RandomSeedConfig):
        if seed.seed is None:
            return None
        return Reseeding(seed.seed) if seed.reseed_after_execution else seed.seed
    if seed is None:
        return None
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
        return int(seed)
    raise TypeError(f"{verb}(seed={seed!r}): a seed is an int, a RandomSeedConfig or None")
