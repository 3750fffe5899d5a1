"""What was kept of a model gives it back."""

from pathlib import Path

import pytest
import torch

from heliostat.train.torch import TorchCheckpoint


def test_a_checkpoint_gives_the_model_back(tmp_path):
    model = torch.nn.Linear(2, 2)
    for checkpoint in (
        TorchCheckpoint.from_model(model),
        TorchCheckpoint.from_state_dict(model.state_dict()),
        TorchCheckpoint.from_state_dict(
            {f"module.{name}": value for name, value in model.state_dict().items()}
        ),
    ):
        assert isinstance(checkpoint, TorchCheckpoint)
        again = checkpoint.get_model(
            None if isinstance(_content(checkpoint), torch.nn.Module) else torch.nn.Linear(2, 2)
        )
        assert torch.equal(model.weight, again.weight)
        checkpoint.to_directory(tmp_path / "there")


def test_parameters_alone_are_no_model():
    checkpoint = TorchCheckpoint.from_state_dict(torch.nn.Linear(1, 1).state_dict())
    with pytest.raises(ValueError, match=r"get_model\(model\)"):
        checkpoint.get_model()


def _content(checkpoint):
    return torch.load(Path(checkpoint.path, TorchCheckpoint.MODEL_FILENAME), weights_only=False)
