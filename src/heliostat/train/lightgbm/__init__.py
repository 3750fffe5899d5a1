"""LightGBM on N ranks, joined by LightGBM's own sockets on loopback.

`_trainer.py` is LightGBMTrainer, `_boost.py` what each rank runs when the trainer is given a label
column instead of a loop, `_callback.py` reports rounds, `_checkpoint.py` keeps a model,
`_backend.py` joins the ranks.
"""

from heliostat.runtime_context import preload

try:
    # Where a session lives, the workers' copy is imported beside ours.
    preload("lightgbm", "heliostat.train.lightgbm", "heliostat.train._worker")
    import lightgbm
except ImportError as error:
    raise ImportError(
        "heliostat.train.lightgbm needs LightGBM; install heliostat[train-lightgbm], or the "
        "package lightgbm"
    ) from error

from heliostat.train.lightgbm._backend import LightGBMConfig, get_network_params
from heliostat.train.lightgbm._callback import RayTrainReportCallback
from heliostat.train.lightgbm._checkpoint import LightGBMCheckpoint
from heliostat.train.lightgbm._pandas import normalize_pandas_for_lightgbm
from heliostat.train.lightgbm._trainer import LightGBMTrainer

del preload, lightgbm

__all__ = [
    "LightGBMCheckpoint",
    "LightGBMConfig",
    "LightGBMTrainer",
    "RayTrainReportCallback",
    "get_network_params",
    "normalize_pandas_for_lightgbm",
]
