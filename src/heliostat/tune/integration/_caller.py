"""Who calls a set-up of a tracking tool: a trial, a rank of a training, or a plain program."""

from typing import NamedTuple

from heliostat import train
from heliostat.tune.session import get_context


class Caller(NamedTuple):
    """What a tracking tool may call a run, and whether this one is the run's first rank."""

    trial_id: str | None = None
    trial_name: str | None = None
    experiment_name: str | None = None
    rank: int = 0


def find() -> Caller:
    """The caller; nameless outside trials and trainings."""
    try:
        trial = get_context()
    except RuntimeError:
        pass
    else:
        names = trial.get_trial_id(), trial.get_trial_name(), trial.get_experiment_name()
        return Caller(*names)
    try:
        rank = train.get_context()
    except RuntimeError:
        return Caller()
    name = rank.get_experiment_name()
    return Caller(name, name, name, rank.get_world_rank())
