"""Ray's name for `heliostat.train.jax`."""

from heliostat.train.jax import JaxConfig, JaxTrainer

__all__ = ["JaxConfig", "JaxTrainer"]
