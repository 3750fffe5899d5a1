"""The proxy of another machine: what comes to its port is answered by the application's replicas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import heliostat as ray
from heliostat import serve
from heliostat.serve._connections import whereabouts
from heliostat.serve._node_proxy import NodeProxy, are_wanted
from heliostat.serve._proxy import Route
from heliostat.serve.exceptions import PortTakenError
from heliostat.serve.server_options import HTTPOptions


@pytest.fixture
def elsewhere(client: httpx.Client) -> Iterator[Any]:
    """A proxy in a process of its own."""
    make = ray.remote(NodeProxy).options(num_cpus=0, max_concurrency=1000)
    actor = make.remote(HTTPOptions(port=0), None, None)
    yield actor
    ray.get(actor.stop.remote())
    ray.kill(actor)


def test_it_forwards_to_the_replicas_and_tells_its_health(
    elsewhere: Any, client: httpx.Client, scaler: serve.Deployment
):
    url = ray.get(elsewhere.start.remote("another machine"))
    assert url != str(client.base_url)
    with httpx.Client(base_url=url) as there:
        assert there.get("/-/healthz").status_code == 503
        serve.run(scaler.bind(3), name="three", route_prefix="/three")
        route = Route("/three", "three", "Scaler")
        ray.get(elsewhere.tell.remote([route], is_ready=True))
        assert there.get("/-/healthz").text == "success"
        assert there.post("/three", json=[1, 2]).json() == {"predictions": [3, 6]}
        assert there.get("/four").status_code == 404


def test_the_machine_whose_port_serve_has_needs_no_other(elsewhere: Any):
    busy = ray.remote(NodeProxy).options(num_cpus=0).remote(HTTPOptions(port=1), None, None)
    assert ray.get(busy.start.remote(whereabouts())) == ""
    ray.get(busy.stop.remote())
    ray.kill(busy)


def test_a_taken_port_is_told(elsewhere: Any, client: httpx.Client):
    port = client.base_url.port
    taken = ray.remote(NodeProxy).options(num_cpus=0).remote(HTTPOptions(port=port), None, None)
    with pytest.raises(PortTakenError, match=str(port)):
        ray.get(taken.start.remote("another machine"))
    ray.kill(taken)


def test_one_machine_has_one_proxy(client: httpx.Client):
    assert not are_wanted(HTTPOptions())
    assert list(serve.status().proxies) == ["127.0.0.1"]
