"""Samplers: the distribution of a domain apart from its bounds, for those who translate spaces."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heliostat.tune.search.randomness import RandomState
    from heliostat.tune.search.sample import Domain


class Sampler:
    """How values are drawn from a domain; `Domain.get_sampler()` gives that of one.

    Example:
        >>> from heliostat import tune
        >>> tune.qloguniform(1, 100, 5).get_sampler()
        Quantized(sampler=LogUniform(base=10), q=5)
    """

    def of(self, domain: Any) -> Any:
        """The domain with this distribution."""
        return domain

    def sample(
        self,
        domain: "Domain",
        config: Mapping[str, Any] | None = None,
        size: int = 1,
        random_state: "RandomState" = None,
    ) -> Any:
        """Draw from the bounds of a domain, as this sampler does.

        Args:
            domain: Whose own distribution is left aside.
            config: What of the configuration is known already.
            size: How many values.
            random_state: A seed or a numpy generator; None is numpy's global one.

        Returns:
            One value, or a list of them when `size` is over one.
        """
        return self.of(domain).sample(config, size, random_state)


@dataclass(frozen=True)
class Uniform(Sampler):
    """Every value equally likely."""

    def of(self, domain: Any) -> Any:
        """The domain with this distribution."""
        return domain.uniform()


@dataclass(frozen=True)
class LogUniform(Sampler):
    """Every order of magnitude equally likely."""

    base: float = 10

    def of(self, domain: Any) -> Any:
        """The domain with this distribution."""
        return domain.loguniform(self.base)


@dataclass(frozen=True)
class Normal(Sampler):
    """A normal distribution, whatever the bounds."""

    mean: float = 0.0
    sd: float = 1.0

    def of(self, domain: Any) -> Any:
        """The domain with this distribution."""
        return domain.normal(self.mean, self.sd)


@dataclass(frozen=True)
class Quantized(Sampler):
    """Another sampler's values, rounded to multiples of `q`.

    Example:
        >>> from heliostat.tune.search.sample import Float, Uniform
        >>> Quantized(Uniform(), 0.5).sample(Float(0, 1), random_state=0) in (0, 0.5, 1)
        True
    """

    sampler: Sampler
    q: float

    def get_sampler(self) -> Sampler:
        """The sampler whose values are rounded."""
        return self.sampler

    def of(self, domain: Any) -> Any:
        """The domain with this distribution."""
        return self.sampler.of(domain).quantized(self.q)


def sampler_of(domain: "Domain") -> Sampler:
    """The distribution that a domain has."""
    made: Sampler
    match getattr(domain, "shape", None):
        case "log":
            made = LogUniform()
        case "normal":
            made = Normal(getattr(domain, "mean", 0.0), getattr(domain, "sd", 1.0))
        case _:  # a choice has no shape, and its values are equally likely
            made = Uniform() if hasattr(domain, "uniform") else Sampler()
    q = getattr(domain, "q", None)
    return made if q is None else Quantized(made, q)
