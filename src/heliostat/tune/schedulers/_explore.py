"""How population based training changes a configuration: a little, or by drawing a value anew."""

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from heliostat.tune.search.sample import Domain

Mutations = Mapping[str, Any]


def check_mutations(mutations: Mutations, path: str = "hyperparam_mutations") -> None:
    """Refuse what is neither values to choose from, nor a domain, nor a function.

    Args:
        mutations: What may change, nested as in the search space.
        path: Where it stands, for the message.

    Raises:
        ValueError: Something else; the message names the key.
    """
    for key, how in mutations.items():
        here = f"{path}[{key!r}]"
        if isinstance(how, Mapping):
            check_mutations(how, here)
        elif isinstance(how, list | tuple):
            if not how:
                raise ValueError(f"{here} is empty; give it values to choose from")
        elif not isinstance(how, Domain) and not callable(how):
            raise ValueError(
                f"{here} must be a list of values, a domain such as tune.uniform(0, 1), a function "
                f"that draws a value, or a dict of these, got {how!r}"
            )


def draw(how: Any, rng: random.Random) -> Any:
    """A fresh value of a mutation."""
    if isinstance(how, Domain):
        return how.sample(random_state=rng.getrandbits(32))
    return rng.choice(how) if isinstance(how, list | tuple) else how()


def fill(config: dict[str, Any], mutations: Mutations, rng: random.Random) -> None:
    """Draw, in place, what a config lacks of the mutations."""
    for key, how in mutations.items():
        if isinstance(how, Mapping):
            inner = config.setdefault(key, {})
            if isinstance(inner, dict):
                fill(inner, how, rng)
        elif key not in config:
            config[key] = draw(how, rng)


class Explorer:
    """Changes configurations.

    Args:
        mutations: What may change.
        resample: How likely a value is drawn anew.
        factors: What a number is multiplied with otherwise, one or the other.
        custom: Takes the new config and returns one; called last.
        rng: Where the randomness comes from.
    """

    def __init__(
        self,
        mutations: Mutations,
        resample: float,
        factors: Sequence[float],
        custom: Callable[[dict[str, Any]], dict[str, Any]] | None,
        rng: random.Random,
    ) -> None:
        self._mutations = mutations
        self._resample = resample
        self._factors = tuple(factors)
        self._custom = custom
        self._rng = rng

    def change(self, config: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """A changed copy of a config.

        Args:
            config: The donor's.

        Returns:
            The copy, and what has changed, for people.

        Raises:
            ValueError: The custom function returns no dict.
        """
        new = copy.deepcopy(dict(config))
        changes: list[str] = []
        self._walk(new, self._mutations, changes, "")
        if self._custom is not None:
            changed = self._custom(new)
            if not isinstance(changed, dict):
                raise ValueError(f"custom_explore_fn must return a config, got {changed!r}")
            new = changed
        return new, ",".join(changes)

    def _walk(
        self, config: dict[str, Any], mutations: Mutations, changes: list[str], prefix: str
    ) -> None:
        for key, how in mutations.items():
            if isinstance(how, Mapping):
                inner = config.setdefault(key, {})
                self._walk(inner, how, changes, f"{prefix}{key}/")
                continue
            config[key] = self._step(config.get(key), how)
            value = config[key]
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            changes.append(f"{prefix}{key}={shown}")

    def _step(self, value: Any, how: Any) -> Any:
        anew = self._rng.random() < self._resample
        if isinstance(how, list | tuple):
            if anew or value not in how:
                return self._rng.choice(how)
            # One place up or down; at an end it may stay where it is.
            place = list(how).index(value) + self._rng.choice((-1, 1))
            return how[max(0, min(place, len(how) - 1))]
        if anew or isinstance(value, bool) or not isinstance(value, int | float):
            return draw(how, self._rng)
        scaled = value * self._rng.choice(self._factors)
        return int(scaled) if isinstance(value, int) else scaled
