"""TuneContext: which trial am I, in which study."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heliostat.tune._resources import PlacementGroupFactory


@dataclass(frozen=True)
class Storage:
    """Where the files of a trial and of its study are.

    Args:
        storage_path: The directory that has the study's.
        experiment_dir_name: The name of the study's directory in it.
        trial_dir_name: The name of the trial's directory in that.

    Example:
        >>> Storage("/results", "study", "trial_1").trial_fs_path
        '/results/study/trial_1'
    """

    storage_path: str
    experiment_dir_name: str
    trial_dir_name: str

    @property
    def experiment_fs_path(self) -> str:
        """The study's directory."""
        return os.path.join(self.storage_path, self.experiment_dir_name)

    @property
    def trial_fs_path(self) -> str:
        """The trial's directory."""
        return os.path.join(self.experiment_fs_path, self.trial_dir_name)


@dataclass(frozen=True)
class TuneContext:
    """Facts about a trial. `tune.get_context()` returns it inside the trial.

    Example:
        >>> TuneContext(trial_id="a_00000").get_trial_id()
        'a_00000'
    """

    trial_id: str = ""
    trial_name: str = ""
    trial_dir: str = ""
    trial_resources: Mapping[str, float] = field(default_factory=dict)
    experiment_name: str = ""

    def get_trial_id(self) -> str:
        """The trial's id."""
        return self.trial_id

    def get_trial_name(self) -> str:
        """The trial's name."""
        return self.trial_name

    def get_trial_dir(self) -> str:
        """The trial's directory."""
        return self.trial_dir

    def get_trial_resources(self) -> PlacementGroupFactory:
        """What the trial was admitted for; its `required_resources` is the sum."""
        return PlacementGroupFactory([dict(self.trial_resources)])

    def get_experiment_name(self) -> str:
        """The study's name."""
        return self.experiment_name

    def get_world_size(self) -> int:
        """1: a trial has no ranks of its own."""
        return 1

    def get_world_rank(self) -> int:
        """0: a trial has no ranks of its own."""
        return 0

    def get_local_rank(self) -> int:
        """0: a trial has no ranks of its own."""
        return 0

    def get_local_world_size(self) -> int:
        """1: a trial has no ranks of its own."""
        return 1

    def get_node_rank(self) -> int:
        """0: there is one machine."""
        return 0

    def get_metadata(self) -> dict[str, Any]:
        """Nothing: metadata are a trainer's."""
        return {}

    def get_storage(self) -> Storage:
        """Where the trial's files are."""
        directory, trial = os.path.split(self.trial_dir)
        return Storage(*os.path.split(directory), trial)
