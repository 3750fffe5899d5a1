"""The distributions of a search space: what a user writes in place of a value.

A `Domain` is a frozen value: bounds, a shape (uniform, log, normal) and an optional step. It knows how
to draw from itself and whether a value belongs to it. It does not know where in a config it stands;
that is `heliostat.tune.search._space`.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal, Self, TypeGuard

from heliostat.tune.search._samplers import (
    LogUniform,
    Normal,
    Quantized,
    Sampler,
    Uniform,
    sampler_of,
)
from heliostat.tune.search.randomness import RandomState, Rng, as_rng

__all__ = [
    "Categorical", "Domain", "Float", "Function", "Integer", "LogUniform", "Normal", "Quantized",
    "Sampler", "Uniform", "choice", "lograndint", "loguniform", "qlograndint", "qloguniform", "qrandint",
    "qrandn", "quniform", "randint", "randn", "sample_from", "uniform",
]  # fmt: skip

Shape = Literal["uniform", "log", "normal"]


class Domain:
    """A set of values with a distribution over it. Base of `Float`, `Integer`, `Categorical`, `Function`."""

    def sample(
        self,
        config: Mapping[str, Any] | None = None,
        size: int = 1,
        random_state: RandomState = None,
    ) -> Any:
        """Draw from the domain.

        Args:
            config: What of the configuration is known already; only `Function` looks at it.
            size: How many values.
            random_state: A seed or a numpy generator; None is numpy's global one.

        Returns:
            One value, or a list of them when `size` is over one.

        Example:
            >>> 0 <= uniform(0, 1).sample(random_state=1) < 1
            True
        """
        rng = as_rng(random_state)
        if size == 1:
            return self.draw(rng, config or {})
        return [self.draw(rng, config or {}) for _ in range(size)]

    def draw(self, rng: Rng, config: Mapping[str, Any]) -> Any:
        """Draw one value with a generator that is already made."""
        raise NotImplementedError

    def cast(self, value: Any) -> Any:
        """Bring a value into the type of this domain."""
        return value

    def is_valid(self, value: Any) -> bool:
        """Say whether a value could have come from this domain."""
        raise NotImplementedError

    def get_sampler(self) -> Sampler:
        """Its distribution apart from its bounds, for those who translate spaces.

        Returns:
            `Uniform`, `LogUniform` or `Normal`, in a `Quantized` if there is a step.

        Example:
            >>> quniform(0, 1, 0.25).get_sampler()
            Quantized(sampler=Uniform(), q=0.25)
        """
        return sampler_of(self)

    def __str__(self) -> str:
        return _call_of(self) if isinstance(self, Float | Integer) else repr(self)


@dataclass(frozen=True, slots=True)
class Float(Domain):
    """Real numbers in [lower, upper), uniform, log-uniform or normal, perhaps in steps of `q`."""

    lower: float | None
    upper: float | None
    shape: Shape = "uniform"
    mean: float = 0.0
    sd: float = 1.0
    q: float | None = None

    def __post_init__(self) -> None:
        if self.shape != "normal":
            _check_bounds(self)
        elif not _is_number(self.mean):
            raise ValueError(f"{_call_of(self)}: mean must be a number, got {self.mean!r}")
        elif not self.sd > 0:
            raise ValueError(f"{_call_of(self)}: sd must be > 0, got {self.sd!r}")
        elif self.q is not None and not self.q > 0:
            raise ValueError(f"{_call_of(self)}: q must be > 0, got {self.q!r}")

    def uniform(self) -> "Float":
        """The same bounds, every value equally likely."""
        return replace(self, shape="uniform")

    def loguniform(self, base: float = 10) -> "Float":
        """The same bounds, every order of magnitude equally likely.

        Args:
            base: Accepted because callers give it; the distribution is the same for any base.
        """
        _check_base(base)
        return replace(self, shape="log")

    def normal(self, mean: float = 0.0, sd: float = 1.0) -> "Float":
        """A normal distribution instead of bounds."""
        return replace(self, lower=None, upper=None, shape="normal", mean=mean, sd=sd)

    def quantized(self, q: float) -> "Float":
        """The same distribution, rounded to multiples of `q`."""
        return replace(self, q=q)

    def draw(self, rng: Rng, config: Mapping[str, Any]) -> float:
        """Draw one value with a generator that is already made."""
        if self.shape == "normal":
            value = float(rng.normal(self.mean, self.sd))
        else:
            low, high = self._bounds_on_grid()
            value = _draw_between(rng, low, high, log=self.shape == "log")
        return value if self.q is None else float(round(value / self.q) * self.q)

    def cast(self, value: Any) -> float:
        """Bring a value into the type of this domain."""
        return float(value)

    def is_valid(self, value: Any) -> bool:
        """Say whether a value could have come from this domain."""
        if not _is_number(value):
            return False
        return self.lower is None or self.upper is None or bool(self.lower <= value <= self.upper)

    def _bounds_on_grid(self) -> tuple[float, float]:
        assert self.lower is not None
        assert self.upper is not None
        if self.q is None:
            return self.lower, self.upper
        first, last = grid_indices(self.lower, self.upper, self.q)
        return first * self.q, last * self.q


@dataclass(frozen=True, slots=True)
class Integer(Domain):
    """Whole numbers in [lower, upper), uniform or log-uniform; with a step `q` over 1 upper belongs too."""

    lower: int
    upper: int
    shape: Shape = "uniform"
    q: int | None = None

    def __post_init__(self) -> None:
        _check_bounds(self)
        named = {"lower bound": self.lower, "upper bound": self.upper, "q": self.q}
        for name, value in named.items():
            if value is not None and value != int(value):
                raise ValueError(
                    f"{_call_of(self)}: the {name} of whole numbers must be one itself, got {value!r}; "
                    "uniform() and its like are for others"
                )

    def uniform(self) -> "Integer":
        """The same bounds, every value equally likely."""
        return replace(self, shape="uniform")

    def loguniform(self, base: float = 10) -> "Integer":
        """The same bounds, every order of magnitude equally likely.

        Args:
            base: Accepted because callers give it; the distribution is the same for any base.
        """
        _check_base(base)
        return replace(self, shape="log")

    def quantized(self, q: int) -> "Integer":
        """The same bounds, multiples of `q` only."""
        return replace(self, q=q)

    def draw(self, rng: Rng, config: Mapping[str, Any]) -> int:
        """Draw one value with a generator that is already made."""
        step, low, high = 1, self.lower, self.upper
        if self.q is not None and self.q != 1:
            step = self.q
            low, last = grid_indices(low, high, step)
            high = last + 1
        if self.shape == "log":
            return int(_draw_between(rng, low, high, log=True)) * step
        return int(rng.integers(low, high)) * step

    def cast(self, value: Any) -> int:
        """Bring a value into the type of this domain."""
        return int(value)

    def is_valid(self, value: Any) -> bool:
        """Say whether a value could have come from this domain."""
        return isinstance(value, Integral) and self.lower <= int(value) <= self.upper


@dataclass(frozen=True, slots=True)
class Categorical(Domain):
    """One of a list of values, each equally likely."""

    categories: Sequence[Any]

    def __post_init__(self) -> None:
        if not self.categories:
            raise ValueError("choice() needs at least one value, got an empty list")

    def uniform(self) -> Self:
        """Every value equally likely, which is how it is already."""
        return self

    def grid(self) -> dict[str, list[Any]]:
        """The same values, each tried once."""
        return {"grid_search": list(self.categories)}

    def draw(self, rng: Rng, config: Mapping[str, Any]) -> Any:
        """Draw one value with a generator that is already made."""
        # An index, not the value: numpy would turn a list of mixed types into one type.
        return self.categories[int(rng.integers(0, len(self.categories)))]

    def is_valid(self, value: Any) -> bool:
        """Say whether a value could have come from this domain."""
        return value in self.categories

    def __len__(self) -> int:
        return len(self.categories)

    def __getitem__(self, index: int) -> Any:
        return self.categories[index]


@dataclass(frozen=True, slots=True)
class Function(Domain):
    """Whatever the user's function says, given the rest of the configuration."""

    func: Callable[..., Any]

    def __post_init__(self) -> None:
        if not callable(self.func):
            raise TypeError(f"sample_from() needs a function, got {self.func!r}")

    def draw(self, rng: Rng, config: Mapping[str, Any]) -> Any:
        """Call the function; with no argument when it takes none."""
        return self.func(config) if self.takes_config else self.func()

    @property
    def takes_config(self) -> bool:
        """Whether the function has an argument for the configuration."""
        try:
            return bool(inspect.signature(self.func).parameters)
        except ValueError:  # a builtin without a signature
            return True

    def is_valid(self, value: Any) -> bool:
        """Say whether a value could have come from this domain: nobody knows, so yes."""
        return True


def uniform(lower: float, upper: float) -> Float:
    """Real numbers between two bounds, all equally likely.

    Args:
        lower: The least value.
        upper: The bound above, itself left out.

    Raises:
        ValueError: The bounds are not in order or not finite.

    Example:
        >>> 1 <= uniform(1, 2).sample(random_state=0) < 2
        True
    """
    return Float(lower, upper)


def quniform(lower: float, upper: float, q: float) -> Float:
    """Real numbers between two bounds in steps of `q`, both bounds included.

    Args:
        lower: The least value.
        upper: The greatest value.
        q: The step.

    Raises:
        ValueError: The bounds are not in order, or no multiple of `q` lies between them.

    Example:
        >>> quniform(0, 1, 0.25).sample(random_state=0) in (0, 0.25, 0.5, 0.75, 1)
        True
    """
    return Float(lower, upper, q=q)


def loguniform(lower: float, upper: float, base: float = 10) -> Float:
    """Real numbers between two bounds, every order of magnitude equally likely.

    Args:
        lower: The least value, over 0.
        upper: The bound above, itself left out.
        base: Accepted because callers give it; the distribution is the same for any base.

    Raises:
        ValueError: The bounds are not in order or not over 0.

    Example:
        >>> 1e-4 <= loguniform(1e-4, 1e-1).sample(random_state=0) < 1e-1
        True
    """
    _check_base(base)
    return Float(lower, upper, "log")


def qloguniform(lower: float, upper: float, q: float, base: float = 10) -> Float:
    """Like `loguniform`, rounded to multiples of `q`.

    Args:
        lower: The least value, over 0.
        upper: The greatest value.
        q: The step.
        base: Accepted because callers give it; the distribution is the same for any base.

    Raises:
        ValueError: The bounds are not in order, not over 0, or too narrow for `q`.

    Example:
        >>> qloguniform(1, 100, 5).sample(random_state=0) % 5
        0.0
    """
    _check_base(base)
    return Float(lower, upper, "log", q=q)


def randn(mean: float = 0.0, sd: float = 1.0) -> Float:
    """Normally distributed real numbers.

    Args:
        mean: The middle.
        sd: The standard deviation.

    Raises:
        ValueError: `sd` is not over 0.

    Example:
        >>> isinstance(randn(10, 2).sample(random_state=0), float)
        True
    """
    return Float(None, None, "normal", mean, sd)


def qrandn(mean: float, sd: float, q: float) -> Float:
    """Normally distributed real numbers, rounded to multiples of `q`.

    Args:
        mean: The middle.
        sd: The standard deviation.
        q: The step.

    Raises:
        ValueError: `sd` or `q` is not over 0.

    Example:
        >>> qrandn(10, 2, 0.5).sample(random_state=0) % 0.5
        0.0
    """
    return Float(None, None, "normal", mean, sd, q)


def randint(lower: int, upper: int) -> Integer:
    """Whole numbers between two bounds, all equally likely.

    Args:
        lower: The least value.
        upper: The bound above, itself left out.

    Raises:
        ValueError: The bounds are not in order.

    Example:
        >>> randint(2, 4).sample(random_state=0) in (2, 3)
        True
    """
    return Integer(lower, upper)


def qrandint(lower: int, upper: int, q: int = 1) -> Integer:
    """Whole numbers between two bounds in steps of `q`; with a step over 1 `upper` is included.

    Args:
        lower: The least value.
        upper: The greatest value.
        q: The step.

    Raises:
        ValueError: The bounds are not in order, or no multiple of `q` lies between them.

    Example:
        >>> qrandint(8, 32, 8).sample(random_state=0) in (8, 16, 24, 32)
        True
    """
    return Integer(lower, upper, q=q)


def lograndint(lower: int, upper: int, base: float = 10) -> Integer:
    """Whole numbers between two bounds, every order of magnitude equally likely.

    Args:
        lower: The least value, over 0.
        upper: The bound above, itself left out.
        base: Accepted because callers give it; the distribution is the same for any base.

    Raises:
        ValueError: The bounds are not in order or not over 0.

    Example:
        >>> 1 <= lograndint(1, 1000).sample(random_state=0) < 1000
        True
    """
    _check_base(base)
    return Integer(lower, upper, "log")


def qlograndint(lower: int, upper: int, q: int, base: float = 10) -> Integer:
    """Like `lograndint` in steps of `q`; with a step over 1 `upper` is included.

    Args:
        lower: The least value, over 0.
        upper: The greatest value.
        q: The step.
        base: Accepted because callers give it; the distribution is the same for any base.

    Raises:
        ValueError: The bounds are not in order, not over 0, or too narrow for `q`.

    Example:
        >>> qlograndint(10, 1000, 10).sample(random_state=0) % 10
        0
    """
    _check_base(base)
    return Integer(lower, upper, "log", q=q)


def choice(categories: Sequence[Any]) -> Categorical:
    """One of a list of values, each equally likely.

    Args:
        categories: The values, of any type; a nested space among them is resolved when it is drawn.

    Raises:
        TypeError: It is no list.
        ValueError: The list is empty.

    Example:
        >>> choice(["adam", "sgd"]).sample(random_state=0) in ("adam", "sgd")
        True
    """
    if not isinstance(categories, Iterable):
        raise TypeError(f"choice() takes a list of values, got {categories!r}")
    return Categorical(list(categories))


def sample_from(func: Callable[..., Any]) -> Function:
    """A value computed by a function, which may look at the rest of the configuration.

    Args:
        func: Takes the configuration (or nothing) and returns the value. Values that are drawn
            later than this one are waited for.

    Raises:
        TypeError: `func` cannot be called.

    Example:
        >>> sample_from(lambda config: config["width"] * 2).sample({"width": 4})
        8
    """
    return Function(func)


def _is_number(value: Any) -> TypeGuard[float]:
    """A real number of Python's or numpy's."""
    return isinstance(value, Real)


def _draw_between(rng: Rng, low: float, high: float, *, log: bool) -> float:
    if not log:
        return float(rng.uniform(low, high))
    # exp(log(x)) may miss a bound by one in the last digit.
    return min(max(math.exp(rng.uniform(math.log(low), math.log(high))), low), high)


def grid_indices(lower: float, upper: float, q: float) -> tuple[int, int]:
    """First and last multiple of `q` within the bounds, as counts of `q`."""
    # 0.3 / 0.1 is 2.9999999999999996: a bound that is a multiple but for rounding counts as one.
    first, last = (round(bound / q, 9) for bound in (lower, upper))
    return math.ceil(first), math.floor(last)


_CALLS = {"uniform": ("uniform", "randint"), "log": ("loguniform", "lograndint")}


def _call_of(domain: Float | Integer) -> str:
    """How a user writes it: `tune.quniform(0, 1, 0.1)`."""
    given: tuple[object, object] = domain.lower, domain.upper
    if isinstance(domain, Float) and domain.shape == "normal":
        name, given = "randn", (domain.mean, domain.sd)
    else:
        name = _CALLS[domain.shape][isinstance(domain, Integer)]
    step = () if domain.q is None else (domain.q,)
    return f"tune.{'q' * len(step)}{name}({', '.join(map(repr, (*given, *step)))})"


def _check_bounds(domain: Float | Integer) -> None:
    lower, upper, q = domain.lower, domain.upper, domain.q
    for side, bound in (("lower", lower), ("upper", upper)):
        if not _is_number(bound) or not math.isfinite(bound):
            raise ValueError(
                f"{_call_of(domain)}: the {side} bound must be a finite number, got {bound!r}"
            )
    assert lower is not None
    assert upper is not None
    if not lower < upper:
        how = "swap them" if upper < lower else "write a value that is fixed as it is"
        raise ValueError(
            f"{_call_of(domain)}: the lower bound must be below the upper bound, got {lower!r}, "
            f"{upper!r}; {how}"
        )
    if domain.shape == "log" and not lower > 0:
        raise ValueError(
            f"{_call_of(domain)}: a logarithmic range must begin above 0, got lower={lower!r}; begin "
            "at the least value that makes a difference, or take a range that is not logarithmic"
        )
    if q is None:
        return
    if not q > 0:
        raise ValueError(f"{_call_of(domain)}: q must be > 0, got {q!r}")
    first, last = grid_indices(lower, upper, q)
    if last < first:
        raise ValueError(
            f"{_call_of(domain)}: no multiple of q={q!r} lies between {lower!r} and {upper!r}; take "
            "a smaller q"
        )


def _check_base(base: float) -> None:
    if not base > 0 or base == 1:
        raise ValueError(f"base must be over 0 and not 1, got {base!r}")
