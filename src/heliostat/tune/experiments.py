"""What is tuned in this process: each study with its trials, as rows for people and tools."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from heliostat.tune._display import chosen_at, infer_metrics, parameter_columns
from heliostat.tune._experiment import Experiment
from heliostat.tune._metrics import look_up, user_metrics
from heliostat.tune._trial import ERROR, Trial
from heliostat.util.progress import Ledger

__all__ = ["list_experiments"]

KEPT = 10
TRIALS = 10_000
CURVES = 500  # trials that have one, with so many points at most
POINTS = 200

LEDGER = Ledger(KEPT)


def list_experiments(trials: int = TRIALS) -> list[dict[str, Any]]:
    """Studies that run in this process, and the last ten that have ended under a dashboard.

    Args:
        trials: So many trials of each study, the best first; ten thousand are there.

    Returns:
        A row for each, the oldest first: its `name`, `path`, `state`, `metric`, `mode`, `counts` of
        trials by status, `total` (None if unknown), `parameters`, `metrics`, and `trials`, each
        with its configuration, last metrics, and the `curve` of the metric.

    Example:
        >>> from heliostat.tune.experiments import list_experiments
        >>> isinstance(list_experiments(), list)
        True
    """
    found = LEDGER.rows()
    return [{**row, "trials": row["trials"][:trials]} for row in found]


Curves = Mapping[str, Iterable[tuple[float, float]]]


def thin(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """As many points of a curve as a plot needs, the last among them.

    Example:
        >>> thin([(1, 0.5), (2, 0.4)])
        [(1, 0.5), (2, 0.4)]
    """
    step = max(1, -(-len(curve) // POINTS))
    return curve[(len(curve) - 1) % step :: step]


def row(experiment: Experiment, name: str, path: str, curves: Curves, over: bool) -> dict[str, Any]:
    """A study as it is now; `curves` are what its trials have reported."""
    study = experiment.study
    trials = list(experiment.get_trials())
    counts: dict[str, int] = {}
    for trial in trials:
        counts[trial.status] = counts.get(trial.status, 0) + 1
    columns = parameter_columns(study.space)
    total = experiment.total
    shown = best(trials, study.metric, study.mode)
    ended = "FINISHED" if experiment.finished else "STOPPED"
    return {
        "name": name,
        "path": path,
        "state": ended if over else "RUNNING",
        "metric": study.metric,
        "mode": study.mode,
        "counts": counts,
        "total": total if total is not None and total < 1e15 else None,
        "parameters": list(columns.values()),
        "metrics": infer_metrics(trials, 8, study.metric),
        "trials": [_trial(trial, columns, study.metric, curves) for trial in shown],
    }


def best(trials: Sequence[Trial], metric: str | None, mode: str | None) -> list[Trial]:
    """The first ten thousand: those that run, then the best; without a metric the newest."""
    sign = -1.0 if mode == "max" else 1.0

    def rank(item: tuple[int, Trial]) -> tuple[bool, float, int]:
        number, trial = item
        value = None if metric is None else look_up(trial.last_result, metric)
        order = float("inf")
        if isinstance(value, (int, float)) and value == value:
            order = sign * value
        return trial.status != "RUNNING", order, -number

    return [trial for _, trial in sorted(enumerate(trials), key=rank)[:TRIALS]]


def _trial(
    trial: Trial, columns: Mapping[Any, str], metric: str | None, curves: Curves
) -> dict[str, Any]:
    result = trial.last_result
    values = {
        name: value
        for name, value in user_metrics(result).items()
        if isinstance(value, (int, float, str))
    }
    return {
        "trial_id": trial.trial_id,
        "name": str(trial),
        "state": trial.status,
        "config": {title: _plain(chosen_at(trial.config, path)) for path, title in columns.items()},
        "metrics": dict(list(values.items())[:8]),
        "iteration": result.get("training_iteration"),
        "seconds": result.get("time_total_s"),
        "failures": trial.num_failures,
        "error": str(trial.error)[:1000] if trial.state == ERROR and trial.error else "",
        "curve": thin(list(curves.get(trial.trial_id, ()))),
    }


def _plain(value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:
        value = value.item()
    return value if value is None or isinstance(value, (int, float, str)) else str(value)[:200]
