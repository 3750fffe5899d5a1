"""Ray's place for `heliostat.tune.integration.comet`."""

from heliostat.tune.integration.comet import CometLoggerCallback

__all__ = ["CometLoggerCallback"]
