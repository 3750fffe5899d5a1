"""create_searcher: a searcher by its name, for programs that read it from their options."""

from importlib import import_module
from typing import Any

from heliostat.tune.search.searcher import Searcher

_HERE = "heliostat.tune.search"
_NAMES = {
    "variant_generator": ("searcher", "BasicVariantGenerator"),
    "random": ("searcher", "BasicVariantGenerator"),
    "ax": ("ax", "AxSearch"),
    "bayesopt": ("bayesopt", "BayesOptSearch"),
    "bohb": ("bohb", "TuneBOHB"),
    "hebo": ("hebo", "HEBOSearch"),
    "hyperopt": ("hyperopt", "HyperOptSearch"),
    "nevergrad": ("nevergrad", "NevergradSearch"),
    "optuna": ("optuna", "OptunaSearch"),
    "zoopt": ("zoopt", "ZOOptSearch"),
}


def create_searcher(search_alg: str, **kwargs: Any) -> Searcher:
    """Make a searcher by its name.

    Args:
        search_alg: `variant_generator`, `random`, `ax`, `bayesopt`, `bohb`, `hyperopt`, `nevergrad`
            or `optuna`, in any case.
        kwargs: Its arguments.

    Returns:
        The searcher.

    Raises:
        ValueError: There is none of that name.
        ImportError: Its library is not installed.

    Example:
        >>> type(create_searcher("random")).__name__
        'BasicVariantGenerator'
    """
    name = search_alg.lower()
    if name not in _NAMES:
        raise ValueError(f"search_alg must be one of {', '.join(_NAMES)}, got {search_alg!r}")
    module, kind = _NAMES[name]
    made: Searcher = getattr(import_module(f"{_HERE}.{module}"), kind)(**kwargs)
    return made
