"""PyTorch Lightning on N ranks: the strategy, environment and callback that its Trainer is given.

Use them in the loop of a TorchTrainer, which joins the ranks. Both packages will do: `lightning` and
`pytorch_lightning`.
"""

try:
    from heliostat.train.lightning import _package
except ImportError as error:
    raise ImportError(
        "heliostat.train.lightning needs PyTorch Lightning; install the package lightning or "
        "pytorch-lightning"
    ) from error

from heliostat.train.lightning._callback import RayTrainReportCallback
from heliostat.train.lightning._strategies import (
    RayDDPStrategy,
    RayDeepSpeedStrategy,
    RayFSDPStrategy,
    RayLightningEnvironment,
    prepare_trainer,
)

del _package

__all__ = [
    "RayDDPStrategy",
    "RayDeepSpeedStrategy",
    "RayFSDPStrategy",
    "RayLightningEnvironment",
    "RayTrainReportCallback",
    "prepare_trainer",
]
