"""Searchers: who proposes the next configuration.

`sample.py` is the language of spaces, `searcher.py` has random and grid search; one file for each
library that proposes, which loads it when its searcher is made. A searcher knows neither processes nor
resources: it is asked for a config and told results.
"""

from heliostat.tune.search._create import create_searcher
from heliostat.tune.search._flat import (
    UNDEFINED_METRIC_MODE,
    UNDEFINED_SEARCH_SPACE,
    UNRESOLVED_SEARCH_SPACE,
)
from heliostat.tune.search._space import grid_search
from heliostat.tune.search.repeater import Repeater
from heliostat.tune.search.search_algorithm import SearchAlgorithm, SearchGenerator
from heliostat.tune.search.searcher import BasicVariantGenerator, ConcurrencyLimiter, Searcher

__all__ = [
    "UNDEFINED_METRIC_MODE",
    "UNDEFINED_SEARCH_SPACE",
    "UNRESOLVED_SEARCH_SPACE",
    "BasicVariantGenerator",
    "ConcurrencyLimiter",
    "Repeater",
    "SearchAlgorithm",
    "SearchGenerator",
    "Searcher",
    "create_searcher",
    "grid_search",
]
