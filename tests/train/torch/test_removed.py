"""Names that Ray has taken the meaning from say what is there instead."""

import pytest

from heliostat.train import torch as train_torch


@pytest.mark.parametrize(
    ("name", "arguments", "instead"),
    [
        ("accelerate", {"amp": True}, "torch.autocast"),
        ("backward", {"tensor": None}, "call loss.backward()"),
        ("prepare_optimizer", {"optimizer": None}, "use the optimizer as it is"),
    ],
)
def test_what_is_gone_says_what_is_there_instead(name, arguments, instead):
    with pytest.raises(DeprecationWarning) as said:
        getattr(train_torch, name)(**arguments)
    assert f"heliostat.train.torch.{name} is gone" in str(said.value)
    assert instead in str(said.value)
