"""create_scheduler: a scheduler by its name, for programs that read it from their options."""

from importlib import import_module
from typing import Any

from heliostat.tune.schedulers.trial_scheduler import TrialScheduler

_HERE = "heliostat.tune.schedulers"
_NAMES = {
    "fifo": ("trial_scheduler", "FIFOScheduler"),
    "async_hyperband": ("async_hyperband", "AsyncHyperBandScheduler"),
    "asynchyperband": ("async_hyperband", "AsyncHyperBandScheduler"),
    "asha": ("async_hyperband", "AsyncHyperBandScheduler"),
    "median_stopping_rule": ("median_stopping_rule", "MedianStoppingRule"),
    "medianstopping": ("median_stopping_rule", "MedianStoppingRule"),
    "hyperband": ("hyperband", "HyperBandScheduler"),
    "hb_bohb": ("hb_bohb", "HyperBandForBOHB"),
    "pbt": ("pbt", "PopulationBasedTraining"),
    "pbt_replay": ("pbt", "PopulationBasedTrainingReplay"),
    "pb2": ("pb2", "PB2"),
    "resource_changing": ("resource_changing_scheduler", "ResourceChangingScheduler"),
}


def create_scheduler(scheduler: str, **kwargs: Any) -> TrialScheduler:
    """Make a scheduler by its name.

    Args:
        scheduler: `fifo`, `async_hyperband`, `median_stopping_rule`, `hyperband`, `hb_bohb`, `pbt`,
            `pbt_replay`, `pb2` or `resource_changing`, in any case.
        kwargs: Its arguments.

    Returns:
        The scheduler.

    Raises:
        ValueError: There is none of that name.

    Example:
        >>> create_scheduler("async_hyperband", max_t=9).rungs
        [[4, 1]]
    """
    name = scheduler.lower()
    if name not in _NAMES:
        raise ValueError(f"scheduler must be one of {', '.join(_NAMES)}, got {scheduler!r}")
    module, kind = _NAMES[name]
    made: TrialScheduler = getattr(import_module(f"{_HERE}.{module}"), kind)(**kwargs)
    return made
