"""Names of Ray's `ray.autoscaler`: `sdk`."""

from heliostat.autoscaler import sdk

__all__ = ["sdk"]
