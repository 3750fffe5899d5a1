"""Transforms of pictures."""

import numpy as np
import pytest

import heliostat as ray
from heliostat.data.preprocessors import TorchVisionPreprocessor

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("inline")


def test_a_transform_is_applied_to_each_picture_or_to_batches():
    ds = ray.data.from_numpy(np.arange(8, dtype=np.float32).reshape(2, 2, 2))
    for batched in (False, True):
        double = TorchVisionPreprocessor(["data"], lambda t: t * 2, ["out"], batched=batched)
        out = double.transform(ds).take_batch()
        assert np.array_equal(out["out"], out["data"] * 2)


def test_what_gives_no_tensor_is_named():
    ds = ray.data.from_numpy(np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="got int"):
        TorchVisionPreprocessor(["data"], lambda _: 3).transform(ds).take_all()
