"""Collective calls among the ranks of a training, whatever they train with."""

from __future__ import annotations

from typing import Any, TypeVar

from heliostat.train import current
from heliostat.train.session import Session

__all__ = ["barrier", "broadcast_from_rank_zero"]

T = TypeVar("T")


def broadcast_from_rank_zero(data: T) -> T:
    """Give every rank what rank 0 has. All ranks must call it, and it returns when all have.

    The data travels in messages, through the process that called `fit`: it is for small facts, such
    as a name or a vocabulary.

    Args:
        data: Rank 0's counts; that of others is left aside.

    Returns:
        Rank 0's data, on every rank.

    Raises:
        SessionMisuseError: Outside a training loop.

    Example:
        >>> from heliostat import train
        >>> from heliostat.train.collective import broadcast_from_rank_zero
        >>> def loop():
        ...     rank = train.get_context().get_world_rank()
        ...     return broadcast_from_rank_zero({"chosen by": rank})
        >>> train.DataParallelTrainer(
        ...     loop, scaling_config=train.ScalingConfig(num_workers=2),
        ...     run_config=train.RunConfig(storage_path="results", verbose=0)).fit().return_value
        {'chosen by': 0}
    """
    shared: T = _session("broadcast_from_rank_zero").meet(data)
    return shared


def barrier() -> None:
    """Wait until every rank has called this.

    Raises:
        SessionMisuseError: Outside a training loop.

    Example:
        >>> barrier()
        Traceback (most recent call last):
        heliostat.train.error.SessionMisuseError: ...outside a ...
    """
    _session("barrier").meet(None)


def _session(call: str) -> Session:
    session: Any = current.session(call)
    if not isinstance(session, Session):
        raise RuntimeError(
            f"heliostat.train.collective.{call}() was called in a function of Tune's, which has no "
            "other ranks; call it in the loop of a trainer"
        )
    return session
