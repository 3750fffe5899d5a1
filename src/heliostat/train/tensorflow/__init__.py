"""TensorFlow on N ranks, which find each other in TF_CONFIG. It is needed by the user's loop only.

`_trainer.py` is TensorflowTrainer, `_backend.py` writes TF_CONFIG.
"""

from heliostat.train.tensorflow._backend import TensorflowConfig
from heliostat.train.tensorflow._trainer import TensorflowTrainer

__all__ = ["TensorflowConfig", "TensorflowTrainer"]
