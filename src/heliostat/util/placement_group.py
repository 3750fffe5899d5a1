"""Placement groups, under Ray's `ray.util.placement_group`: all of `heliostat.placement`."""

from heliostat import placement
from heliostat.placement import *  # noqa: F403 - one list of names is enough

__all__ = placement.__all__
