"""TrainContext: which rank am I, among how many, in which run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from heliostat.train import current

__all__ = ["TrainContext", "get_context"]


@dataclass(frozen=True)
class TrainContext:
    """Facts about this rank and its run. `get_context()` returns it inside a training loop.

    Example:
        >>> TrainContext(world_rank=1, world_size=2).get_world_rank()
        1
    """

    world_rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    node_rank: int = 0
    experiment_name: str = ""
    storage: str = ""
    storage_filesystem: Any = None
    attempt: int = 1
    metadata: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, float] = field(default_factory=dict)

    def get_world_rank(self) -> int:
        """The number of this rank among all."""
        return self.world_rank

    def get_world_size(self) -> int:
        """How many ranks there are."""
        return self.world_size

    def get_local_rank(self) -> int:
        """The number of this rank among those on its node."""
        return self.local_rank

    def get_local_world_size(self) -> int:
        """How many ranks there are on this rank's node."""
        return self.local_world_size

    def get_node_rank(self) -> int:
        """The number of this rank's node among the nodes."""
        return self.node_rank

    def get_experiment_name(self) -> str:
        """The run's name."""
        return self.experiment_name

    def get_storage(self) -> str:
        """The run's directory."""
        return self.storage

    def get_metadata(self) -> dict[str, Any]:
        """What the trainer was given as `metadata`."""
        return self.metadata

    def get_trial_name(self) -> str:
        """The run's name, which is what a trial's was before trainers ran without Tune."""
        return self.experiment_name

    def get_trial_id(self) -> str:
        """The run's name: nothing else tells it from others."""
        return self.experiment_name

    def get_trial_dir(self) -> str:
        """The run's directory."""
        return self.storage

    def get_trial_resources(self) -> dict[str, float]:
        """What all ranks together reserve."""
        return dict(self.resources)


def get_context() -> TrainContext:
    """The context of the rank that calls.

    Returns:
        Its rank, the number of ranks, and facts about the run.

    Raises:
        SessionMisuseError: Outside a training loop.

    Example:
        >>> get_context()
        Traceback (most recent call last):
        heliostat.train.error.SessionMisuseError: ...outside a ...
    """
    return current.session("get_context").context
