"""Preemption: what a loop is told when a machine is about to be taken away. Ours never is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from heliostat.train import current

__all__ = ["PreemptionInfo", "get_preemption_info"]


@dataclass(frozen=True)
class PreemptionInfo:
    """Which nodes are about to be taken away, and when.

    Args:
        deadline_ms: The earliest time, in milliseconds since 1970; None if nobody said.
        preempted_node_to_ranks: The ranks on each of these nodes.

    Example:
        >>> info = PreemptionInfo(None, {"b": [3, 2], "a": [0]})
        >>> info.preempted_node_ids, info.preempted_ranks
        (['a', 'b'], [0, 2, 3])
    """

    deadline_ms: int | None
    preempted_node_to_ranks: Mapping[str, list[int]]

    @property
    def preempted_node_ids(self) -> list[str]:
        """The nodes, in order."""
        return sorted(self.preempted_node_to_ranks)

    @property
    def preempted_ranks(self) -> list[int]:
        """All ranks on them, in order."""
        return sorted({rank for ranks in self.preempted_node_to_ranks.values() for rank in ranks})


def get_preemption_info() -> PreemptionInfo | None:
    """What is known of a preemption: nothing, since the one machine there is stays.

    Returns:
        None. It does not wait for other ranks.

    Raises:
        SessionMisuseError: Outside a training loop.

    Example:
        >>> get_preemption_info()
        Traceback (most recent call last):
        heliostat.train.error.SessionMisuseError: ...outside a ...
    """
    current.session("get_preemption_info")
    return None
