"""The trials of a study that Ray Tune wrote, out of its plain files.

Reads what each trial's directory says, and of the study's own file what is JSON in it; what is pickled
there stays so. Such a study can be looked into, and not be taken up.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heliostat.train import Result
from heliostat.tune._trial import ERROR, TERMINATED, Trial
from heliostat.tune.error import TuneError

STATES = "experiment_state-*.json"


def trials_in(directory: Path) -> list[Trial] | None:
    """The trials in the order in which they were proposed; None when Ray has written no study there."""
    files = sorted(directory.glob(STATES), key=lambda path: path.name)
    if not files:
        return None
    known = _states(json.loads(files[-1].read_text()))
    found = [_trial(path.parent, known) for path in sorted(directory.glob("*/params.json"))]
    # Ray numbers them; in its file the one that changed last may come first.
    return sorted(found, key=lambda trial: trial.trial_id)


def is_rays(directory: Path) -> bool:
    """Whether Ray has written a study there."""
    return any(directory.glob(STATES))


def _states(study: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each trial, by its id, what Ray's own file says."""
    states = [json.loads(state) for state, _ in study.get("trial_data", ())]
    return {state["trial_id"]: state for state in states}


def _trial(directory: Path, known: Mapping[str, Mapping[str, Any]]) -> Trial:
    result = Result.from_path(directory) if _has_reports(directory) else None
    last = (result and result.metrics) or {}
    # A trial that never reported is known by its directory's name, which has its id in it.
    named = (each for each in known if f"_{each}_" in f"{directory.name}_")
    trial_id = last.get("trial_id") or next(named, directory.name)
    state = known.get(trial_id, {})
    trial = Trial(
        trial_id=trial_id,
        trainable_name=state.get("trainable_name", directory.name.partition("_")[0]),
        config=json.loads((directory / "params.json").read_text()),
        experiment_tag=state.get("experiment_tag", ""),
        path=str(directory),
        resources={},
        state=state.get("status", TERMINATED),
        last_result=last,
    )
    for checkpoint, metrics in (result and result.best_checkpoints) or ():
        trial.keep(checkpoint.path, metrics)
    error = directory / "error.txt"
    if trial.state == ERROR and error.exists():
        trial.error = TuneError(error.read_text())
    return trial


def _has_reports(directory: Path) -> bool:
    return any((directory / name).exists() for name in ("result.json", "progress.csv"))
