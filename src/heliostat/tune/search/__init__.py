"""Searchers: who proposes the next configuration.

`sample.py` is the language of spaces, `basic_variant.py` random and grid search. A searcher knows
neither processes nor resources: it is asked for a config and told results.
"""

from heliostat.tune.search.basic_variant import BasicVariantGenerator
from heliostat.tune.search.sample import grid_search
from heliostat.tune.search.searcher import ConcurrencyLimiter, Searcher

__all__ = ["BasicVariantGenerator", "ConcurrencyLimiter", "Searcher", "grid_search"]
