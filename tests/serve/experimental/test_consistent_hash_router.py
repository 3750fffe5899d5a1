"""ConsistentHashRouter: sessions stay where they are."""

from __future__ import annotations

import asyncio

import pytest

from heliostat.serve.autoscaling import DeploymentID
from heliostat.serve.experimental.consistent_hash_router import ConsistentHashRouter
from heliostat.serve.request_router import (
    PendingRequest,
    ReplicaID,
    RequestMetadata,
    RunningReplica,
)

WHERE = DeploymentID("D")


def made(**options: int) -> ConsistentHashRouter:
    router = ConsistentHashRouter(WHERE)
    router.initialize_state(**options)
    return router


def names(router: ConsistentHashRouter, session: str, replicas: str = "abcd") -> str:
    asked = PendingRequest((), {}, RequestMetadata("", session, "", "", "", "", False, session))
    known = [RunningReplica(ReplicaID(name, WHERE)) for name in replicas]
    groups = asyncio.run(router.choose_replicas(known, asked))
    return "".join(group[0].replica_id.unique_id for group in groups)


def test_a_session_has_one_replica_in_every_process_and_two_in_reserve():
    sessions = [f"user-{n}" for n in range(200)]
    chosen = [names(made(), session) for session in sessions]
    assert chosen == [names(made(), session, "dcba") for session in sessions]
    assert all(len(set(each)) == 3 for each in chosen)
    firsts = [each[0] for each in chosen]
    assert all(firsts.count(name) > 20 for name in "abcd")


def test_a_replica_that_goes_moves_its_own_sessions_only():
    router = made(num_fallback_replicas=0)
    sessions = [f"user-{n}" for n in range(100)]
    before = {session: names(router, session) for session in sessions}
    after = {session: names(router, session, "abc") for session in sessions}
    assert all(after[s] == name for s, name in before.items() if name != "d")
    assert {after[s] for s, name in before.items() if name == "d"} <= set("abc")


def test_wrong_numbers_are_named():
    with pytest.raises(ValueError, match="num_virtual_nodes must be >= 1"):
        made(num_virtual_nodes=0)
    with pytest.raises(TypeError, match="num_fallback_replicas must be an int"):
        made(num_fallback_replicas=0.5)  # type: ignore[arg-type]
