"""RequestRouter: users' own choice of a replica for each request, as Ray names it.

Subclasses choose; `_routing.py` asks them. Nothing here sends or counts.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from heliostat.serve.autoscaling import DeploymentID

__all__ = [
    "FIFOMixin",
    "LocalityMixin",
    "MultiplexMixin",
    "PendingRequest",
    "ReplicaID",
    "RequestMetadata",
    "RequestRouter",
    "RunningReplica",
]


class ReplicaID(NamedTuple):
    """A replica's name, and whose it is."""

    unique_id: str
    deployment_id: DeploymentID


class RequestMetadata(NamedTuple):
    """What is known of a request beside its arguments."""

    request_id: str
    internal_request_id: str
    call_method: str
    route: str
    app_name: str
    multiplexed_model_id: str
    is_streaming: bool
    session_id: str = ""


@dataclass(frozen=True)
class PendingRequest:
    """A request that has no replica yet."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    metadata: RequestMetadata
    created_at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class RunningReplica:
    """A replica as routers see it.

    Args:
        replica_id: Its name.
        max_ongoing_requests: How many run in it at a time.
        multiplexed_model_ids: The models it has, or was asked for.
        routing_stats: What its `record_routing_stats` returned last.
        queue_len: How many requests this process has there.
    """

    replica_id: ReplicaID
    max_ongoing_requests: int = 5
    multiplexed_model_ids: frozenset[str] = frozenset()
    routing_stats: Mapping[str, Any] = field(default_factory=dict)
    queue_len: int = 0
    node_id: str = ""
    availability_zone: str | None = None


class RequestRouter(ABC):
    """Chooses replicas; one in each process that calls the deployment.

    Args:
        deployment_id: The deployment.

    Example:
        >>> import random
        >>> from heliostat import serve
        >>> from heliostat.serve.config import RequestRouterConfig
        >>> from heliostat.serve.request_router import RequestRouter
        >>> class Anyone(RequestRouter):
        ...     async def choose_replicas(self, candidate_replicas, pending_request=None):
        ...         return [[random.choice(candidate_replicas)]]
        >>> @serve.deployment(request_router_config=RequestRouterConfig(Anyone))
        ... class Doubler:
        ...     def double(self, x): return 2 * x
    """

    def __init__(self, deployment_id: DeploymentID) -> None:
        self.deployment_id = deployment_id
        self.curr_replicas: dict[ReplicaID, RunningReplica] = {}

    @property
    def app_name(self) -> str:
        """The deployment's application."""
        return self.deployment_id.app_name

    @abstractmethod
    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Which replicas may have the request.

        It has to choose at once: who awaits something that is not there yet gets an error.

        Args:
            candidate_replicas: All that run.
            pending_request: The request.

        Returns:
            Groups, the best first. Of the first group in which somebody is free it is the one
            with the fewest requests; when nobody is free the request waits.
        """

    def initialize_state(self, **kwargs: Any) -> None:
        """Called once, with `request_router_kwargs`."""
        if kwargs:
            raise TypeError(
                f"{type(self).__name__} has no initialize_state that takes {sorted(kwargs)}"
            )

    def on_request_routed(  # noqa: B027 - may do nothing
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any
    ) -> None:
        """Called when a request is on its way; `result` is a reference to its answer."""

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:  # noqa: B027 - may do nothing
        """Called when a request is over."""

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:  # noqa: B027 - may do nothing
        """Called when a replica has died; it is no candidate any more."""

    def select_available_replicas(
        self, candidates: list[RunningReplica] | None = None
    ) -> list[RunningReplica]:
        """Those of the candidates, or of all, that have room for a request."""
        those = list(self.curr_replicas.values()) if candidates is None else candidates
        return [replica for replica in those if replica.queue_len < replica.max_ongoing_requests]


class FIFOMixin:
    """Requests get their replicas in the order in which they came, as they always do here."""


class LocalityMixin:
    """Nearest first; on one machine all replicas are as near."""

    curr_replicas: dict[ReplicaID, RunningReplica]

    def apply_locality_routing(
        self, pending_request: PendingRequest | None = None
    ) -> set[ReplicaID]:
        """The nearest replicas."""
        del pending_request
        return set(self.curr_replicas)

    def rank_replicas_via_locality(
        self, replicas: list[RunningReplica]
    ) -> list[list[RunningReplica]]:
        """Groups, the nearest first."""
        return [replicas]


class MultiplexMixin:
    """Replicas that have the request's model first, then those with the fewest models."""

    curr_replicas: dict[ReplicaID, RunningReplica]

    def apply_multiplex_routing(
        self, pending_request: PendingRequest | None = None
    ) -> set[ReplicaID]:
        """The replicas that have the model; if none has, those with the fewest models."""
        model = "" if pending_request is None else pending_request.metadata.multiplexed_model_id
        ranks = self.rank_replicas_via_multiplex(list(self.curr_replicas.values()), model)
        return {replica.replica_id for replica in next((rank for rank in ranks if rank), [])}

    def rank_replicas_via_multiplex(
        self, replicas: list[RunningReplica], multiplexed_model_id: str
    ) -> list[list[RunningReplica]]:
        """Groups: who has the model, then by the number of models."""
        having = [r for r in replicas if multiplexed_model_id in r.multiplexed_model_ids]
        others = [r for r in replicas if r not in having]
        sizes = sorted({len(r.multiplexed_model_ids) for r in others})
        ranks = [[r for r in others if len(r.multiplexed_model_ids) == size] for size in sizes]
        return [having, *ranks]
