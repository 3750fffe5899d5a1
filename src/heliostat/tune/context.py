"""TuneContext: which trial am I, in which study."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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

    def get_trial_resources(self) -> Mapping[str, float]:
        """What the trial was admitted for."""
        return self.trial_resources

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
