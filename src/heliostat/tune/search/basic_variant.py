"""Ray's place for BasicVariantGenerator, random and grid search."""

from heliostat.tune.search.searcher import BasicVariantGenerator

__all__ = ["BasicVariantGenerator"]
