"""Callback: what users may do when something happens in a study. Called on the driver, in order."""

from typing import Any

from heliostat.train import Checkpoint
from heliostat.tune._trial import Trial


class Callback:
    """Override what you want to hear; every method does nothing by itself.

    `iteration` counts what the study has handled, `trials` are all so far.

    Example:
        >>> class Shout(Callback):
        ...     def on_trial_result(self, iteration, trials, trial, result, **info):
        ...         print(f"{trial}: {result['loss']}!")
    """

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """The study begins."""

    def get_state(self) -> dict[str, Any] | None:
        """What it wants to remember; kept with the study whenever a trial ends.

        Returns:
            The state, or None for nothing.
        """
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """The study is taken up again: here is what `get_state` gave. Called before `setup`."""

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """News has come and is about to be handled."""

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """News was handled."""

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """An attempt of a trial starts."""

    def on_trial_restore(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """An attempt goes on from a checkpoint."""

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A checkpoint was stored."""

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """A trial reported."""

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial ended well."""

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial failed and will be tried again."""

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial failed for good."""

    def on_checkpoint(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        checkpoint: Checkpoint,
        **info: Any,
    ) -> None:
        """A checkpoint was stored; here it is."""

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """The study is over."""
