"""RoundRobinRouter: turns."""

from __future__ import annotations

import asyncio

from heliostat.serve.autoscaling import DeploymentID
from heliostat.serve.experimental.round_robin_router import RoundRobinRouter
from heliostat.serve.request_router import (
    PendingRequest,
    ReplicaID,
    RequestMetadata,
    RunningReplica,
)

WHERE = DeploymentID("D")


def replica(name: str, *models: str) -> RunningReplica:
    return RunningReplica(ReplicaID(name, WHERE), multiplexed_model_ids=frozenset(models))


def names(router: RoundRobinRouter, model: str = "") -> str:
    asked = PendingRequest((), {}, RequestMetadata("", "", "", "", "", model, False))
    replicas = [replica("c"), replica("a", "m"), replica("b", "m")]
    groups = asyncio.run(router.choose_replicas(replicas, asked))
    return "".join(group[0].replica_id.unique_id for group in groups)


def test_each_request_begins_with_the_next_replica():
    router = RoundRobinRouter(WHERE)
    assert [names(router) for _ in range(4)] == ["abc", "bca", "cab", "abc"]


def test_requests_for_a_model_go_round_among_those_that_have_it():
    router = RoundRobinRouter(WHERE)
    assert names(router) == "abc"
    assert [names(router, "m") for _ in range(3)] == ["abc", "bac", "abc"]
    assert names(router, "unknown") == "bca"
