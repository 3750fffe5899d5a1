"""Transformers' Trainer on N ranks: a callback that reports, and rows of a Dataset as its data.

Use them in the loop of a TorchTrainer, which joins the ranks.
"""

try:
    import transformers
except ImportError as error:
    raise ImportError(
        "heliostat.train.huggingface.transformers needs Transformers; install the packages "
        "transformers and accelerate"
    ) from error

from heliostat.train.huggingface.transformers._trainer import (
    RayTrainReportCallback,
    prepare_trainer,
)

del transformers

__all__ = ["RayTrainReportCallback", "prepare_trainer"]
