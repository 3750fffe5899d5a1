"""What makes a batch for training of rows: classes that say in which form they want the rows."""

from typing import Any, ClassVar

__all__ = ["ArrowBatchCollateFn", "CollateFn", "NumpyBatchCollateFn", "PandasBatchCollateFn"]


class CollateFn:
    """Takes a batch, gives what the training loop wants. Subclass one of the three below.

    Example:
        >>> class Total(NumpyBatchCollateFn):
        ...     def __call__(self, batch):
        ...         return int(batch["id"].sum())
        >>> Total().batch_format
        'numpy'
    """

    batch_format: ClassVar[str] = "numpy"

    def __call__(self, batch: Any) -> Any:
        """Make something of a batch.

        Args:
            batch: Rows, in the form of the class.

        Returns:
            Anything; tensors in it go to the device.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define __call__(batch)")


class ArrowBatchCollateFn(CollateFn):
    """Takes a pyarrow Table."""

    batch_format = "pyarrow"


class NumpyBatchCollateFn(CollateFn):
    """Takes a dict of numpy arrays."""

    batch_format = "numpy"


class PandasBatchCollateFn(CollateFn):
    """Takes a pandas DataFrame."""

    batch_format = "pandas"
