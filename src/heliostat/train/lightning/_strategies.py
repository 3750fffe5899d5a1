"""What tells Lightning's Trainer which rank it is, among how many, and on which device."""

from __future__ import annotations

from typing import Any

import torch

import heliostat.train as train
from heliostat.train.lightning._package import environments, pl, strategies
from heliostat.train.torch import get_device


class _OnOurRanks:
    """What the strategies share: the rank's device and its part of the data."""

    world_size: int
    global_rank: int

    @property
    def root_device(self) -> torch.device:
        """The rank's device."""
        return get_device()

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Which part of the data is the rank's."""
        return {"num_replicas": self.world_size, "rank": self.global_rank}


class RayDDPStrategy(_OnOurRanks, strategies.DDPStrategy):  # type: ignore[misc]  # Any to mypy
    """Lightning's DDPStrategy on the ranks of a TorchTrainer.

    Time-outs and the backend are TorchConfig's.

    Example:
        >>> # pl.Trainer(devices="auto", accelerator="auto", strategy=RayDDPStrategy(),
        >>> #            plugins=[RayLightningEnvironment()])
    """


class RayFSDPStrategy(_OnOurRanks, strategies.FSDPStrategy):  # type: ignore[misc]  # Any to mypy
    """Lightning's FSDPStrategy on the ranks of a TorchTrainer.

    Example:
        >>> # pl.Trainer(strategy=RayFSDPStrategy(), plugins=[RayLightningEnvironment()])
    """


class RayDeepSpeedStrategy(_OnOurRanks, strategies.DeepSpeedStrategy):  # type: ignore[misc]
    """Lightning's DeepSpeedStrategy on the ranks of a TorchTrainer; it needs DeepSpeed.

    Example:
        >>> # pl.Trainer(strategy=RayDeepSpeedStrategy(), plugins=[RayLightningEnvironment()])
    """


class RayLightningEnvironment(environments.LightningEnvironment):  # type: ignore[misc]  # Any
    """Tells Lightning the ranks of a TorchTrainer, which are there already.

    Example:
        >>> # pl.Trainer(strategy=RayDDPStrategy(), plugins=[RayLightningEnvironment()])
    """

    @property
    def creates_processes_externally(self) -> bool:
        """The trainer has started the ranks."""
        return True

    def world_size(self) -> int:
        """How many ranks there are."""
        return train.get_context().get_world_size()

    def global_rank(self) -> int:
        """The number of this rank."""
        return train.get_context().get_world_rank()

    def local_rank(self) -> int:
        """The number of this rank among those of its node."""
        return train.get_context().get_local_rank()

    def node_rank(self) -> int:
        """The number of this rank's node."""
        return train.get_context().get_node_rank()

    def set_world_size(self, size: int) -> None:
        """The trainer knows it."""

    def set_global_rank(self, rank: int) -> None:
        """The trainer knows it."""

    def teardown(self) -> None:
        """Nothing of Lightning's own is left to end."""


def prepare_trainer(trainer: Any) -> Any:
    """Check that a Lightning Trainer will run on the ranks of a TorchTrainer.

    Args:
        trainer: Made with one of the strategies and the environment of this module.

    Returns:
        The same.

    Raises:
        RuntimeError: If its strategy or its environment is another.

    Example:
        >>> # trainer = prepare_trainer(pl.Trainer(strategy=RayDDPStrategy(), ...))
    """
    ours = (RayDDPStrategy, RayFSDPStrategy, RayDeepSpeedStrategy)
    if not isinstance(trainer, pl.Trainer):
        raise TypeError(f"prepare_trainer() takes a Trainer of Lightning's, got {trainer!r}")
    if not isinstance(trainer.strategy, ours):
        raise RuntimeError(
            f"the Trainer's strategy is {type(trainer.strategy).__name__}; give it one of "
            f"{', '.join(kind.__name__ for kind in ours)}"
        )
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if environment is not None and not isinstance(environment, RayLightningEnvironment):
        raise RuntimeError(
            f"the Trainer's environment is {type(environment).__name__}; give it "
            "plugins=[RayLightningEnvironment()]"
        )
    return trainer
