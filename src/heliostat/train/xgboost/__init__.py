"""XGBoost on N ranks, joined by XGBoost's own collective on loopback.

`_trainer.py` is XGBoostTrainer, `_boost.py` what each rank runs when the trainer is given a label
column instead of a loop, `_callback.py` reports rounds, `_checkpoint.py` keeps a model,
`_backend.py` joins the ranks.
"""

from heliostat.runtime_context import preload

try:
    # Where a session lives, the workers' copy is imported beside ours.
    preload("xgboost", "heliostat.train.xgboost", "heliostat.train._worker")
    import xgboost
except ImportError as error:
    raise ImportError(
        "heliostat.train.xgboost needs XGBoost; install heliostat[train-xgboost], or the package "
        "xgboost-cpu (or xgboost, for GPUs)"
    ) from error

from heliostat.train.xgboost._backend import XGBoostConfig
from heliostat.train.xgboost._callback import RayTrainReportCallback
from heliostat.train.xgboost._checkpoint import XGBoostCheckpoint
from heliostat.train.xgboost._trainer import XGBoostTrainer

del preload, xgboost

__all__ = ["RayTrainReportCallback", "XGBoostCheckpoint", "XGBoostConfig", "XGBoostTrainer"]
