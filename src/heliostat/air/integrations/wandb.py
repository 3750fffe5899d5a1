"""Ray's place for `heliostat.tune.integration.wandb`."""

from heliostat.tune.integration.wandb import WandbLoggerCallback, setup_wandb

__all__ = ["WandbLoggerCallback", "setup_wandb"]
