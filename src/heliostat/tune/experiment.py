"""Ray's place for Experiment, what `tune.run_experiments` takes, and Trial, what callbacks are given."""

from heliostat.tune._trial import Trial
from heliostat.tune.tune import Experiment

__all__ = ["Experiment", "Trial"]
