"""Transforms of torchvision, or any function from a picture to a tensor."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from heliostat.data.preprocessor import Preprocessor, outputs

__all__ = ["TorchVisionPreprocessor"]


class TorchVisionPreprocessor(Preprocessor):
    """Applies a transform to columns of pictures. Needs torch; torchvision only for its transforms.

    Args:
        columns: Which.
        transform: From a tensor or an array to a tensor or an array.
        output_columns: New names; None replaces the columns.
        batched: Give it whole batches.

    Raises:
        ImportError: when it is used, if torch is not installed.
        ValueError: when it is used, if the transform gives something else.
    """

    _is_fittable = False
    _batch_format = "numpy"

    def __init__(
        self,
        columns: Sequence[str],
        transform: Callable[[Any], Any],
        output_columns: Sequence[str] | None = None,
        batched: bool = False,
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.output_columns = outputs(columns, output_columns)
        self.torchvision_transform = transform
        self.batched = batched

    def _transform_numpy(self, batch: dict[str, Any]) -> dict[str, Any]:
        made = {}
        for column, output in zip(self.columns, self.output_columns, strict=True):
            pictures = batch[column]
            if self.batched:
                made[output] = self._apply(pictures)
                continue
            results = [self._apply(np.asarray(one)) for one in pictures]
            same = len({one.shape for one in results}) == 1
            made[output] = np.stack(results) if same else results
        return {**batch, **made}

    def _apply(self, pictures: Any) -> Any:
        try:
            import torch  # noqa: PLC0415 - an optional package, and seconds to load
        except ImportError as error:
            raise ImportError("TorchVisionPreprocessor needs torch: pip install torch") from error
        try:
            result = self.torchvision_transform(torch.as_tensor(pictures))
        except TypeError:
            # Transforms such as ToTensor take arrays.
            result = self.torchvision_transform(pictures)
        if isinstance(result, torch.Tensor):
            result = result.numpy()
        if not isinstance(result, np.ndarray):
            raise ValueError(
                f"the transform must give a tensor or an array, got {type(result).__name__}"
            )
        return result
