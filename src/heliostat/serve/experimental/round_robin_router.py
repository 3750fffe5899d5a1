"""RoundRobinRouter: one replica after the other."""

from __future__ import annotations

from heliostat.serve.autoscaling import DeploymentID
from heliostat.serve.request_router import (
    FIFOMixin,
    MultiplexMixin,
    PendingRequest,
    RequestRouter,
    RunningReplica,
)


class RoundRobinRouter(FIFOMixin, MultiplexMixin, RequestRouter):
    """Gives each request to the replica after that of the one before, if it is free.

    Requests that name a model go round among the replicas that have it, with a turn of their own.

    Example:
        >>> from heliostat import serve
        >>> from heliostat.serve.config import RequestRouterConfig
        >>> from heliostat.serve.experimental.round_robin_router import RoundRobinRouter
        >>> @serve.deployment(request_router_config=RequestRouterConfig(RoundRobinRouter))
        ... class Doubler:
        ...     def double(self, x): return 2 * x
    """

    def __init__(self, deployment_id: DeploymentID) -> None:
        super().__init__(deployment_id)
        self._turns: dict[str, int] = {}  # by model; of all other requests under ""

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """All of them, each by itself, in the order of their turns."""
        model = "" if pending_request is None else pending_request.metadata.multiplexed_model_id
        having = [r for r in candidate_replicas if model and model in r.multiplexed_model_ids]
        key = model if having else ""
        turn = self._turns[key] = self._turns.get(key, -1) + 1
        around = having or sorted(candidate_replicas, key=lambda r: r.replica_id.unique_id)
        first = turn % len(around)
        ordered = [*around[first:], *around[:first]]
        ordered += [r for r in candidate_replicas if r not in ordered]
        return [[replica] for replica in ordered]
