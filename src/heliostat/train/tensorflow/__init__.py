"""TensorFlow on N ranks, which find each other in TF_CONFIG. It is needed by the user's loop only.

`_trainer.py` is TensorflowTrainer, `_backend.py` writes TF_CONFIG, `keras.py` has the callback that reports.
"""

from heliostat.train.tensorflow._backend import TensorflowConfig
from heliostat.train.tensorflow._checkpoint import TensorflowCheckpoint
from heliostat.train.tensorflow._shard import prepare_dataset_shard
from heliostat.train.tensorflow._trainer import TensorflowTrainer

__all__ = [
    "TensorflowCheckpoint",
    "TensorflowConfig",
    "TensorflowTrainer",
    "prepare_dataset_shard",
]
