"""JAX on N ranks, joined by jax.distributed on loopback.

`_trainer.py` is JaxTrainer, `_backend.py` joins the ranks. Ray's name is `ray.train.v2.jax`.
"""

import importlib.util

if importlib.util.find_spec("jax") is None:
    text = "heliostat.train.jax needs JAX; install the package jax"
    raise ImportError(text, name="jax")

from heliostat.train.jax._backend import JaxConfig
from heliostat.train.jax._trainer import JaxTrainer

__all__ = ["JaxConfig", "JaxTrainer"]
