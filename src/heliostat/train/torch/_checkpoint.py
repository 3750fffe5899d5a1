"""TorchCheckpoint: a model, or its parameters, in a directory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from heliostat.train.checkpoint import Checkpoint


class TorchCheckpoint(Checkpoint):
    """A checkpoint with one PyTorch model in it.

    Example:
        >>> import torch
        >>> from heliostat.train.torch import TorchCheckpoint
        >>> model = torch.nn.Linear(1, 1)
        >>> again = TorchCheckpoint.from_state_dict(model.state_dict()).get_model(
        ...     torch.nn.Linear(1, 1))
        >>> bool(torch.equal(model.weight, again.weight))
        True
    """

    MODEL_FILENAME = "model.pt"

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Any]) -> Self:
        """Keep parameters. They are in a temporary directory until they are reported."""
        return cls._of(dict(state_dict))

    @classmethod
    def from_model(cls, model: nn.Module) -> Self:
        """Keep a whole model: its parameters and, by name, its class."""
        return cls._of(model)

    @classmethod
    def _of(cls, content: Any) -> Self:
        directory = Path(tempfile.mkdtemp(prefix="torch-checkpoint-"))
        torch.save(content, directory / cls.MODEL_FILENAME)
        return cls(directory)

    def get_model(self, model: nn.Module | None = None) -> nn.Module:
        """The model.

        Args:
            model: One of the same class, to be given the parameters; needed if only those were
                kept.

        Raises:
            ValueError: If only the parameters were kept, and there is no model to give them to.
        """
        with self.as_directory() as directory:
            path = Path(directory) / self.MODEL_FILENAME
            # A whole model is code, too: it is only read where no model was given.
            content = torch.load(path, map_location="cpu", weights_only=model is not None)
        if isinstance(content, nn.Module):
            return content
        if model is None:
            raise ValueError(
                f"{path} has the parameters of a model, not the model; say get_model(model) with "
                "one of the same class"
            )
        # Those of a model that was joined with others' have a name before theirs.
        plain = {name.removeprefix("module."): value for name, value in content.items()}
        model.load_state_dict(plain)
        return model
