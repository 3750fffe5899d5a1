"""PyTorch on N ranks, joined by torch.distributed on loopback.

`_trainer.py` is TorchTrainer, `_backend.py` joins the ranks, `_prepare.py` is what a loop says to
run on all of them, `_checkpoint.py` keeps a model.
"""

from heliostat.runtime_context import preload

try:
    # Where a session lives, the workers' copy is imported beside ours.
    preload("torch", "heliostat.train.torch", "heliostat.train._worker")
    import torch
except ImportError as error:
    raise ImportError(
        "heliostat.train.torch needs PyTorch; install the package torch (for CPUs only: "
        "pip install torch --index-url https://download.pytorch.org/whl/cpu)"
    ) from error

from heliostat.train.torch._backend import TorchConfig
from heliostat.train.torch._checkpoint import TorchCheckpoint
from heliostat.train.torch._prepare import (
    enable_reproducibility,
    get_device,
    get_devices,
    prepare_data_loader,
    prepare_model,
)
from heliostat.train.torch._removed import accelerate, backward, prepare_optimizer
from heliostat.train.torch._trainer import TorchTrainer

del preload, torch

__all__ = [
    "TorchCheckpoint",
    "TorchConfig",
    "TorchTrainer",
    "accelerate",
    "backward",
    "enable_reproducibility",
    "get_device",
    "get_devices",
    "prepare_data_loader",
    "prepare_model",
    "prepare_optimizer",
]
