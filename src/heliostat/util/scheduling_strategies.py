"""Scheduling strategies, under Ray's `ray.util.scheduling_strategies`: all of `heliostat.strategies`."""

from heliostat import strategies
from heliostat.strategies import *  # noqa: F403 - one list of names is enough

__all__ = strategies.__all__
