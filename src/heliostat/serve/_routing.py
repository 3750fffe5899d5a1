"""Routing: asks a user's RequestRouter, in place of the power of two choices.

It keeps the router's view of the replicas; who is busy and how much it hears with each question.
The router is made with the first call: if that fails, the call has its error, and so has the next.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from heliostat.serve._call import Call, Table
from heliostat.serve.autoscaling import DeploymentID
from heliostat.serve.config import RequestRouterConfig
from heliostat.serve.request_router import (
    PendingRequest,
    ReplicaID,
    RequestMetadata,
    RequestRouter,
    RunningReplica,
)

logger = logging.getLogger("heliostat.serve")


class Routing:
    """One user's router, for the calls of this process to one deployment.

    Args:
        config: Which router, and how it is told its state.
        deployment_id: The deployment.
    """

    def __init__(self, config: RequestRouterConfig, deployment_id: DeploymentID) -> None:
        self.config = config
        self._deployment_id = deployment_id
        self._most = 0  # requests on a replica
        self._replicas: dict[ReplicaID, RunningReplica] = {}
        self._router: RequestRouter | None = None

    def publish(self, table: Table) -> None:
        """The replicas there are now."""
        self._most = table.max_ongoing_requests
        self._replicas = {
            self._id(name): RunningReplica(
                self._id(name),
                table.max_ongoing_requests,
                frozenset(table.models.get(name, ())),
                table.routing_stats.get(name, {}),
            )
            for name in table.replicas
        }

    def choose(self, call: Call, loads: Mapping[str, int]) -> str | None:
        """The replica for a call; None when none of the chosen is free.

        Args:
            call: The call.
            loads: How many requests this process has on each replica that lives.

        Raises:
            RuntimeError: When the router waits for something.
            TypeError: When it chooses no groups of replicas.
            Exception: What the router raises, here or when it is made.
        """
        candidates = [
            dataclasses.replace(replica, queue_len=loads[key.unique_id])
            for key, replica in self._replicas.items()
            if key.unique_id in loads
        ]
        if not candidates:
            return None
        router = self._router = self._router or self._make()
        router.curr_replicas = {replica.replica_id: replica for replica in candidates}
        for group in _ask(router, candidates, _pending(call)):
            names = [replica.replica_id.unique_id for replica in group]
            free = [name for name in names if loads.get(name, self._most) < self._most]
            if free:
                return min(free, key=lambda name: loads[name])
        return None

    def routed(self, call: Call) -> None:
        """A call is on its way."""
        self._tell("on_request_routed", _pending(call), self._id(call.replica), call.ref)

    def completed(self, call: Call, *, died: bool) -> None:
        """A call is over."""
        replica = self._id(call.replica)
        if died:
            self._tell("on_replica_actor_died", replica)
        self._tell("on_request_completed", replica, str(id(call)))

    def _make(self) -> RequestRouter:
        router: RequestRouter = self.config.router_class()(self._deployment_id)
        router.initialize_state(**self.config.request_router_kwargs)
        return router

    def _tell(self, method: str, *args: object) -> None:
        try:
            if self._router is not None:  # else it has not chosen: the call is of a former one
                getattr(self._router, method)(*args)
        except Exception:  # user code: the request is on its way, or over, all the same
            logger.exception("%s.%s failed", type(self._router).__name__, method)

    def _id(self, name: str) -> ReplicaID:
        return ReplicaID(name, self._deployment_id)


def _ask(
    router: RequestRouter, candidates: list[RunningReplica], pending: PendingRequest
) -> list[list[RunningReplica]]:
    choosing = router.choose_replicas(candidates, pending)
    groups: Any
    try:
        choosing.send(None)
    except StopIteration as done:
        groups = done.value
    else:
        choosing.close()
        raise RuntimeError(
            f"{type(router).__name__}.choose_replicas awaits something that is not "
            "there yet; it has to choose at once"
        )
    if not isinstance(groups, list) or not all(isinstance(group, list) for group in groups):
        raise TypeError(
            f"{type(router).__name__}.choose_replicas returns a list of lists of "
            f"replicas, got {groups!r}"
        )
    return groups


def _pending(call: Call) -> PendingRequest:
    context = call.context
    metadata = RequestMetadata(
        context.request_id,
        str(id(call)),
        call.method,
        context.route,
        context.app_name,
        context.multiplexed_model_id,
        call.is_stream,
        call.session_id,
    )
    return PendingRequest(call.args, call.kwargs, metadata)
