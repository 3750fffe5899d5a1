"""TuneReportCallback: what a trainer that a trial runs reports is reported by the trial."""

from typing import Any

from heliostat.train import Checkpoint, UserCallback
from heliostat.tune.session import report

CHECKPOINT_PATH_KEY = "checkpoint_path"


class TuneReportCallback(UserCallback):
    """For the RunConfig of a trainer that is fitted inside a function that Tune runs.

    Each report of the trainer's becomes one of the trial's: the metrics of rank 0, and where its
    checkpoint lies as `checkpoint_path`. The checkpoint stays the trainer's.

    Example:
        >>> from heliostat.train import RunConfig
        >>> run_config = RunConfig(callbacks=[TuneReportCallback()])
    """

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """Report it."""
        stored = {} if checkpoint is None else {CHECKPOINT_PATH_KEY: checkpoint.path}
        report({**metrics[0], **stored})
