"""What trainers do in this process: each run with its ranks, metrics and checkpoints, as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heliostat.util.progress import Ledger

if TYPE_CHECKING:
    from heliostat.train._run import Run

__all__ = ["list_runs"]

KEPT = 50
# Of each metric; more reports than that are shown with gaps.
POINTS = 500

LEDGER = Ledger(KEPT)


def list_runs() -> list[dict[str, Any]]:
    """Runs of trainers that train in this process, and the last fifty that have ended under a
    dashboard.

    Returns:
        A row for each, the oldest first: its `name`, `trainer`, `path`, `state` (STARTING, RUNNING,
        FINISHED or ERRORED), `started_at`, `seconds`, `attempt`, `failures`, `ranks` with the
        state of each, `reports`, `metrics` (numbers, by report), `checkpoints` and `error`.

    Example:
        >>> from heliostat.train.runs import list_runs
        >>> isinstance(list_runs(), list)
        True
    """
    return LEDGER.rows()


def row(
    run: Run, about: Mapping[str, Any], history: Sequence[Mapping[str, Any]], over: bool
) -> dict[str, Any]:
    """A run as it is now.

    Args:
        run: What decides about it.
        about: What does not change: its `name`, `trainer` and `path`.
        history: What was reported.
        over: Whether it has ended.
    """
    reports, kept = list(history), list(run.kept)
    return {
        **about,
        "state": _state(run, over=over),
        "attempt": run.attempt,
        "failures": run.failures,
        "ranks": list(run.ranks),
        "reports": len(reports),
        "metrics": series(reports),
        "checkpoints": [
            {"name": one.name, "status": one.status, "metrics": numbers(one.metrics)}
            for one in kept[-100:]
        ],
        "error": "" if run.error is None else str(run.error)[:4000],
    }


def _state(run: Run, *, over: bool) -> str:
    if over or run.phase == "finished":
        return "ERRORED" if run.error is not None or run.phase != "finished" else "FINISHED"
    return "STARTING" if run.phase in ("new", "measuring", "starting") else "RUNNING"


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Those of a report's values that can be drawn.

    Example:
        >>> numbers({"loss": 0.5, "done": True, "note": "x"})
        {'loss': 0.5}
    """
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found[str(name)] = value
        elif hasattr(value, "item") and getattr(value, "size", 0) == 1:
            found[str(name)] = float(value.item())
    return found


def series(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers by name, with the numbers of their reports; evenly chosen if there are many.

    Example:
        >>> series([{"loss": 2}, {"loss": 1}])
        {'report': [1, 2], 'values': {'loss': [2, 1]}}
    """
    step = max(1, -(-len(reports) // POINTS))
    chosen = range((len(reports) - 1) % step, len(reports), step)
    rows = [numbers(reports[index]) for index in chosen]
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        "report": [index + 1 for index in chosen],
        "values": {name: [row.get(name) for row in rows] for name in list(names)[:50]},
    }
