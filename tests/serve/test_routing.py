"""Users' routers: asked for each request, told what became of it; and whole deployments with one."""

from __future__ import annotations

from typing import Any

import pytest

import heliostat as ray
from heliostat import serve
from heliostat.serve._call import Call, Table
from heliostat.serve._dispatch import Dispatch
from heliostat.serve._routing import Routing
from heliostat.serve.autoscaling import DeploymentID
from heliostat.serve.config import RequestRouterConfig
from heliostat.serve.context import RequestContext
from heliostat.serve.request_router import (
    FIFOMixin,
    LocalityMixin,
    MultiplexMixin,
    PendingRequest,
    RequestRouter,
    RunningReplica,
)

WHERE = DeploymentID("Model", "app")


class Highest(RequestRouter):
    """Those with the most free memory, as they say."""

    def initialize_state(self, least: int = 0) -> None:
        self.least = least
        self.heard: list[Any] = []

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        free = [r for r in candidate_replicas if r.routing_stats.get("free", 0) >= self.least]
        best = sorted(free, key=lambda replica: -replica.routing_stats.get("free", 0))
        return [[replica] for replica in best]

    def on_request_routed(self, pending_request: Any, replica_id: Any, result: Any) -> None:
        self.heard.append(("routed", pending_request.metadata.call_method, replica_id.unique_id))

    def on_request_completed(self, replica_id: Any, internal_request_id: str) -> None:
        self.heard.append(("completed", replica_id.unique_id))


def a_call(model: str = "") -> Call:
    return Call("predict", RequestContext("/", "id", "app", model), (1,), {})


def table(stats: dict[str, Any], models: dict[str, Any] | None = None) -> Table:
    replicas = dict.fromkeys("abc")
    return Table(1, replicas, 2, -1, "", models or {}, routing_stats=stats)


def routing(router: Any, **kwargs: Any) -> Routing:
    return Routing(RequestRouterConfig(router, kwargs), WHERE)


def test_the_first_group_with_a_free_replica_gets_the_request():
    one = routing(Highest, least=2)
    one.publish(table({"a": {"free": 1}, "b": {"free": 2}, "c": {"free": 3}}))
    assert one.choose(a_call(), {"a": 0, "b": 0, "c": 0}) == "c"
    assert one.choose(a_call(), {"a": 0, "b": 0, "c": 2}) == "b"
    assert one.choose(a_call(), {"a": 0, "b": 2, "c": 2}) is None
    assert one.choose(a_call(), {"a": 0, "b": 0}) == "b"
    assert one.choose(a_call(), {}) is None


def test_a_router_hears_what_became_of_a_request():
    one = routing(Highest)
    one.publish(table({}))
    call = a_call()
    one.completed(call, died=True)  # of a router before it
    call.replica = one.choose(call, {"a": 0})
    one.routed(call)
    one.completed(call, died=True)
    assert one._router.heard == [("routed", "predict", "a"), ("completed", "a")]


class Waits(RequestRouter):
    async def choose_replicas(self, candidate_replicas, pending_request=None):
        import asyncio

        await asyncio.sleep(0)


class Flat(RequestRouter):
    async def choose_replicas(self, candidate_replicas, pending_request=None):
        return candidate_replicas


def test_a_router_that_cannot_be_followed_says_why():
    for router, words in ((Waits, "has to choose at once"), (Flat, "list of lists")):
        one = routing(router)
        one.publish(table({}))
        with pytest.raises((RuntimeError, TypeError), match=words):
            one.choose(a_call(), {"a": 0})
    one = routing(Flat, least=1)
    one.publish(table({}))
    with pytest.raises(TypeError, match="least"):
        one.choose(a_call(), {"a": 0})
    with pytest.raises(ImportError, match="request_router_class='nowhere:Router'"):
        RequestRouterConfig.parse({"request_router_class": "nowhere:Router"})
    with pytest.raises(TypeError, match="subclass"):
        RequestRouterConfig.parse({"request_router_class": "math:pi"})
    with pytest.raises(ValueError, match="request_routing_stats_period_s"):
        RequestRouterConfig(request_routing_stats_period_s=0)


class Mixed(FIFOMixin, LocalityMixin, MultiplexMixin, RequestRouter):
    async def choose_replicas(self, candidate_replicas, pending_request=None):
        assert self.apply_locality_routing(pending_request) == set(self.curr_replicas)
        near = self.rank_replicas_via_locality(self.select_available_replicas())
        chosen = self.apply_multiplex_routing(pending_request)
        return [[r for r in near[0] if r.replica_id in chosen], *near]


def test_the_mixins_prefer_who_has_the_model_and_then_who_has_the_fewest():
    one = routing(Mixed)
    one.publish(table({}, {"a": ("x", "y"), "b": ("x",)}))
    idle = dict.fromkeys("abc", 0)
    assert one.choose(a_call("y"), idle) == "a"
    assert one.choose(a_call("z"), idle) == "c"
    assert one.choose(a_call("y"), {**idle, "a": 2}) in ("b", "c")


class Unborn(Highest):
    broken = True

    def __init__(self, deployment_id: DeploymentID) -> None:
        if self.broken:
            raise OSError("no map of the replicas")
        super().__init__(deployment_id)


class Deaf(Highest):
    def on_request_routed(self, *_: Any) -> None:
        raise OSError("not now")

    on_request_completed = on_replica_actor_died = on_request_routed


def dispatch_with(router: type) -> tuple[Dispatch, Table]:
    @ray.remote(num_cpus=0)
    class Answers:
        def call(self, *args: Any) -> str:
            return "answer"

    dispatch = Dispatch("app", "Model")
    config = RequestRouterConfig(router)
    return dispatch, Table(1, {"a": Answers.remote()}, 1, -1, "", router=config)


def test_a_router_that_cannot_be_made_fails_each_call_and_news_go_on(monkeypatch):
    with ray.init(engine="inline"):
        dispatch, published = dispatch_with(Unborn)
        handle = serve.DeploymentHandle("Model", "app", dispatch=dispatch)
        early = handle.remote()
        dispatch.publish(published)
        for response in (early, handle.remote()):
            with pytest.raises(OSError, match="no map of the replicas"):
                response.result(timeout_s=5)
        monkeypatch.setattr(Unborn, "broken", False)
        assert handle.remote().result(timeout_s=5) == "answer"


def test_a_router_that_fails_to_listen_costs_no_answer(caplog):
    with ray.init(engine="inline"):
        dispatch, published = dispatch_with(Deaf)
        dispatch.publish(published)
        handle = serve.DeploymentHandle("Model", "app", dispatch=dispatch)
        assert [handle.remote().result(timeout_s=5) for _ in range(3)] == ["answer"] * 3
    assert "Deaf.on_request_routed failed" in caplog.text
    assert "Deaf.on_request_completed failed" in caplog.text


ROUTER = {
    "request_router_class": "tests.serve.test_routing:Highest",
    "request_router_kwargs": {"least": 1},
    "request_routing_stats_period_s": 0.05,
}


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.1}, request_router_config=ROUTER)
class Model:
    def __init__(self) -> None:
        self.free = int(serve.get_replica_context().replica_id.rsplit("#")[-1][-1], 36) + 1

    def record_routing_stats(self) -> dict[str, Any]:
        return {"free": self.free}

    def __call__(self) -> int:
        return self.free


def test_requests_of_handles_and_of_http_go_where_the_router_says(client, until):
    handle = serve.run(Model.bind(), name="model")
    answers = [handle.remote().result(timeout_s=20) for _ in range(10)]
    until(lambda: len({handle.remote().result(timeout_s=20) for _ in range(10)}) == 1)
    best = handle.remote().result()
    assert max(answers) <= best
    assert {client.get("/").json() for _ in range(10)} == {best}
    assert ray.is_initialized()
