"""Metrics of a report by name; nested ones as `eval/loss`. Which are the user's, which are ours."""

import math
from collections.abc import Mapping
from typing import Any

# What every report carries besides the user's metrics.
AUTO_KEYS = frozenset(
    (
        "training_iteration", "time_this_iter_s", "time_total_s", "time_since_restore",
        "iterations_since_restore", "timestamp", "date", "trial_id", "experiment_tag", "hostname",
        "node_ip", "pid", "done", "checkpoint_dir_name", "config",
    )
)  # fmt: skip


def look_up(result: Mapping[str, Any], name: str) -> Any:
    """A metric by name; `a/b` finds `b` inside `a`. None when it is not there."""
    if name in result:
        return result[name]
    value: Any = result
    for step in name.split("/"):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def flatten(result: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested metrics as one level: `{"a": {"b": 1}}` becomes `{"a/b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in result.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}/"))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def user_metrics(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the user reported, flat."""
    return flatten({key: value for key, value in result.items() if key not in AUTO_KEYS})


def score(value: Any, mode: str | None) -> float:
    """A value as a number of which more is better; what is none is worse than any, as NaN is."""
    kind, number = rank(value, mode or "max")
    return -math.inf if kind else -number


def rank(value: Any, mode: str) -> tuple[int, float]:
    """A key to sort results by, best first: numbers, then NaN, then what is no number or missing."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 2, 0.0
    if math.isnan(number):
        return 1, 0.0
    return 0, number if mode == "min" else -number
