"""Serve has a proxy on each node: applications are reached at all of them, also when one goes."""

import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

import heliostat as ray
from heliostat import serve
from heliostat.serve import api
from heliostat.testing.clock import until
from tests.ray import cluster

pytest.importorskip("ray.cluster_utils")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about itself
]


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 1})
class Where:
    def __call__(self, request):
        return request.url.path


def proxies():
    return {node: str(status) for node, status in serve.status().proxies.items()}


def test_applications_are_reached_at_each_node_and_at_those_that_come_and_are_left():
    with cluster.nodes({"num_cpus": 3}, {"num_cpus": 3}, _system_config=cluster.WATCHFUL) as nodes:
        ray.init(nodes.address, log_to_driver=False)
        serve.start(http_options={"port": 0})
        serve.run(Where.bind())
        until(lambda: len(api.describe()["urls"]) == 2, "each node has a proxy", 60)
        assert sorted(proxies().values()) == ["HEALTHY", "HEALTHY"]
        here, there = api.describe()["urls"]
        until(lambda: httpx.get(f"{there}/-/healthz").status_code == 200, "it is told", 30)
        assert httpx.get(f"{there}/x").text == httpx.get(f"{here}/x").text == "/x"

        more = nodes.add_node(**cluster.NODE)
        until(lambda: len(api.describe()["urls"]) == 3, "so has one that comes", 60)
        third = api.describe()["urls"][2]
        until(lambda: httpx.get(f"{third}/-/healthz").status_code == 200, "it is told", 30)
        assert httpx.get(f"{third}/y").text == "/y"

        nodes.remove_node(more, allow_graceful=False)
        until(lambda: len(proxies()) == 2, "it is forgotten", 60)
        assert httpx.get(f"{here}/x").text == httpx.get(f"{there}/x").text == "/x"
        serve.shutdown()
        until(lambda: not _answers(there), "its port is free", 30)


def test_a_proxy_that_dies_is_followed_by_another():
    with cluster.nodes({}, {}, **cluster.dashboard()) as nodes:
        ray.init(nodes.address, log_to_driver=False)
        serve.start(http_options={"port": 0})
        serve.run(Where.bind())
        until(lambda: len(api.describe()["urls"]) == 2, "each node has a proxy", 60)
        there = api.describe()["urls"][1]
        pid = next(row.pid for row in ray.util.state.list_actors() if row.class_name == "NodeProxy")
        os.kill(pid, signal.SIGKILL)
        until(lambda: api.describe()["urls"][1:] not in ([], [there]), "another begins", 60)
        again = api.describe()["urls"][1]
        until(lambda: httpx.get(f"{again}/-/healthz").status_code == 200, "it is told", 30)
        assert httpx.get(f"{again}/x").text == "/x"
        serve.shutdown()


def test_only_the_head_listens_where_that_is_asked_for():
    with cluster.nodes({}, {}) as nodes:
        ray.init(nodes.address, log_to_driver=False)
        serve.start(proxy_location="HeadOnly", http_options={"port": 0})
        serve.run(Where.bind())
        assert list(proxies()) == ["127.0.0.1"]
        assert len(api.describe()["urls"]) == 1
        serve.shutdown()


def _answers(url):
    try:
        return httpx.get(f"{url}/-/healthz", timeout=5).status_code > 0
    except httpx.HTTPError:
        return False


def test_a_driver_deploys_while_another_shuts_serve_down(tmp_path):
    begun = tmp_path / "begun"

    @serve.deployment(ray_actor_options={"num_cpus": 1})
    class Slow:
        def work(self):
            begun.touch()
            time.sleep(5)
            return "done"

    shut_down = "import heliostat; from heliostat import serve; heliostat.init(); serve.shutdown()"
    with cluster.nodes({}, {}) as nodes:
        ray.init(nodes.address, log_to_driver=False)
        serve.start(http_options={"port": 0})
        work = serve.run(Slow.bind()).work.remote()
        until(begun.exists, "it works", 60)
        other = subprocess.Popen([sys.executable, "-c", shut_down], env=cluster.environment(nodes))
        until(lambda: serve.status().applications["default"].status == "DELETING", "it ends", 60)
        serve.start(http_options={"port": 0})  # the former port may be in use for a moment
        serve.run(Where.bind(), name="later")
        assert work.result() == "done"
        assert other.wait(60) == 0
        assert list(serve.status().applications) == ["later"]
        assert httpx.get(f"{api.describe()['urls'][0]}/x").text == "/x"
        serve.shutdown()
