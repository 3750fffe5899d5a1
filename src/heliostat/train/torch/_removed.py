"""What Ray Train has taken away, but still has names for: each says what is there instead."""

from typing import Any, NoReturn

__all__ = ["accelerate", "backward", "prepare_optimizer"]


def _gone(name: str, instead: str) -> NoReturn:
    raise DeprecationWarning(
        f"heliostat.train.torch.{name} is gone, in Ray as well: {instead} with PyTorch's own mixed "
        "precision (torch.autocast, torch.amp.GradScaler), or use Lightning or Accelerate"
    )


def accelerate(amp: bool = False) -> NoReturn:
    """Mixed precision for the loop; gone.

    Args:
        amp: Whether it was to be mixed.

    Raises:
        DeprecationWarning: Always, with what is there instead.
    """
    _gone("accelerate", "begin the loop")


def backward(tensor: Any) -> NoReturn:
    """The gradients of a loss, scaled for mixed precision; gone.

    Args:
        tensor: The loss.

    Raises:
        DeprecationWarning: Always, with what is there instead.
    """
    _gone("backward", "call loss.backward()")


def prepare_optimizer(optimizer: Any) -> NoReturn:
    """An optimizer for mixed precision; gone.

    Args:
        optimizer: What it was made of.

    Raises:
        DeprecationWarning: Always, with what is there instead.
    """
    _gone("prepare_optimizer", "use the optimizer as it is")
