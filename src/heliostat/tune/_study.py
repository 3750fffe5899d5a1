"""Study: what does not change while a study runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from heliostat.tune._trial import Trial


@dataclass(frozen=True, slots=True)
class Study:
    """What does not change while a study runs.

    Attributes:
        name: Of the study.
        trainable_name: Of what is tuned.
        id_prefix: First part of each trial's id.
        space: The search space.
        limit: How many trials at most; None leaves it to the searcher.
        capacity: The resources of the cluster.
        request: Resources for a config.
        create: Makes the directory name of a trial, and its name where users want another.
        metric: What is optimised; None for nothing.
        mode: "min", "max" or None.
        max_concurrent: At most so many at a time; 0 for as many as fit.
        time_budget_s: Stop everything after this.
        max_failures: How often a trial may fail and be tried again; -1 for always.
        fail_fast: The first failed trial ends the study.
        ahead: Trials may be made before there is room for them: what others report changes nothing.
        chdir: Trials work in their own directories.
        log_files: What trials print is kept in files of these names, for stdout and stderr.
        environment: The `runtime_env` of the trials' processes.
        keep: How many checkpoints of a trial stay; None for all.
        keep_by: The metric by which they are ranked; None for the newest.
        keep_mode: "min" or "max".
    """

    name: str
    trainable_name: str
    id_prefix: str
    space: Mapping[str, Any]
    limit: float | None
    capacity: Mapping[str, float]
    request: Callable[[dict[str, Any]], Mapping[str, float]]
    create: Callable[[Trial], Trial] = lambda trial: trial
    metric: str | None = None
    mode: str | None = None
    max_concurrent: int = 0
    time_budget_s: float | None = None
    max_failures: int = 0
    fail_fast: bool = False
    ahead: bool = False
    chdir: bool = False
    log_files: tuple[str, str] | None = None
    environment: Mapping[str, Any] | None = None
    keep: int | None = None
    keep_by: str | None = None
    keep_mode: str = "max"
