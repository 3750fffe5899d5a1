"""What a Ray cluster knows of its tasks, actors, objects and workers; and the session's metrics."""

from __future__ import annotations

from typing import Any

from heliostat._core.tally import Change, Totals
from heliostat._engines.ray import theirs
from heliostat._engines.ray.groups import short

OURS = "_heliostat_"  # how names of actors begin that are not the user's
_TOTALS = f"{OURS}totals"
_MOST = 10_000

_INSTEAD = {
    "logs": "`ray logs` shows them",
    "events": "`ray list cluster-events` shows them",
    "runtime_envs": "`ray list runtime-envs` shows them",
    "memory": "`ray memory` shows it",
}


def rows(kind: str) -> list[dict[str, Any]]:
    """Rows of one kind, with Ray's names.

    Raises:
        NotImplementedError: For what Ray's own commands show.
    """
    if kind == "metrics":
        found: list[dict[str, Any]] = theirs.ray().get(_totals().rows.remote())
        return found
    if kind in _INSTEAD:
        raise NotImplementedError(
            f"no {kind} of a Ray cluster are collected here: {_INSTEAD[kind]}"
        )
    lists = theirs.module("util.state")
    listed = getattr(lists, f"list_{kind}")(limit=_MOST, detail=True)
    return [_row(dict(vars(entry))) for entry in listed]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    if isinstance(row.get("node_id"), str):
        row["node_id"] = short(row["node_id"])
    return row


class _Totals:
    """The actor that adds up what the processes of a session count."""

    def __init__(self) -> None:
        self._totals = Totals()

    def add(self, process: int, changes: tuple[Change, ...]) -> None:
        """Take over what a process has recorded."""
        self._totals.add(process, changes)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each series."""
        return self._totals.rows()


def _totals() -> Any:
    actor = theirs.ray().remote(_Totals)
    return actor.options(name=_TOTALS, get_if_exists=True, num_cpus=0).remote()


def tally(changes: tuple[Change, ...]) -> None:
    """Add what this process has recorded."""
    process = int(theirs.ray().get_runtime_context().get_worker_id()[:32], 16)
    _totals().add.remote(process, changes)
