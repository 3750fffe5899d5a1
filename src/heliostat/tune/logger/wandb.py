"""Ray's other place for `heliostat.tune.integration.wandb`."""

from heliostat.tune.integration.wandb import WandbLoggerCallback

__all__ = ["WandbLoggerCallback"]
