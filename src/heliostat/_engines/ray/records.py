"""What a Ray cluster knows of its tasks, actors, objects and workers; and the session's metrics."""

from __future__ import annotations

from typing import Any

from heliostat._core.tally import Change, Totals
from heliostat._engines.ray import theirs
from heliostat._engines.ray.groups import short
from heliostat.exceptions import RaySystemError

OURS = "_heliostat_"  # how names of actors begin that are not the user's
_TOTALS = f"{OURS}totals"
_MOST = 10_000
_AS_FAR = {"raise_on_missing_output": False}  # a node that has just gone does not answer

_INSTEAD = {
    "logs": "logs", "events": "list cluster-events", "runtime_envs": "list runtime-envs",
    "memory": "memory",
}  # fmt: skip


def rows(kind: str) -> list[dict[str, Any]]:
    """Rows of one kind, with Ray's names."""
    if kind == "metrics":
        return list(theirs.ray().get(_totals().rows.remote()))
    if kind in _INSTEAD:
        raise NotImplementedError(
            f"no {kind} of a Ray cluster are collected here: use `ray {_INSTEAD[kind]}`"
        )
    lists = theirs.module("util.state")
    # Without an address Ray looks for one on this machine, where other clusters may run.
    context = theirs.ray().get_runtime_context()
    here, job = context.gcs_address, context.get_job_id()
    # Ray lists ten thousand at most, whichever: this session's own are asked for by themselves.
    parts = [[("job_id", sign, job)] for sign in ("=", "!=")] if kind == "tasks" else [None]
    listing = getattr(lists, f"list_{kind}")
    try:
        listed = [
            entry
            for part in parts
            for entry in listing(here, filters=part, limit=_MOST, detail=True, **_AS_FAR)
        ]
    except OSError as error:
        raise RaySystemError(
            f"{kind} are listed by the cluster's dashboard, which does not answer ({error}); "
            "`ray start --head --include-dashboard=true` starts one"
        ) from None
    return sorted((_row(dict(vars(entry))) for entry in listed), key=_when)  # the newest last


def _row(row: dict[str, Any]) -> dict[str, Any]:
    if isinstance(row.get("node_id"), str):
        row["node_id"] = short(row["node_id"])
    return row


def _when(row: dict[str, Any]) -> float:
    created: float | None = row.get("creation_time_ms", 0)
    return float("inf") if created is None else created


def _totals() -> Any:
    # It adds up what the processes of the session count.
    actor = theirs.ray().remote(Totals)
    return actor.options(name=_TOTALS, get_if_exists=True, num_cpus=0).remote()


def tally(changes: tuple[Change, ...]) -> None:
    """Add what this process has recorded."""
    process = int(theirs.ray().get_runtime_context().get_worker_id()[:32], 16)
    _totals().add.remote(process, changes)
