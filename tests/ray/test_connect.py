"""What is wrong with a cluster, or with how it is reached, is told within five seconds."""

import json
import socket
import time

import pytest

import heliostat as ray
from heliostat.exceptions import (
    ActorUnschedulableError,
    RuntimeEnvSetupError,
    TaskUnschedulableError,
)
from tests.ray import cluster

pytest.importorskip("ray.cluster_utils")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.alone,  # it measures time
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about itself
]
SOON_S = 5.0


@pytest.fixture(scope="module")
def one_node():
    with cluster.nodes({}) as nodes:
        yield nodes


@pytest.fixture(autouse=True)
def told_soon(request):
    if "without_heliostat" in request.fixturenames:
        request.getfixturevalue("without_heliostat")  # takes its time
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SOON_S
    assert not ray.is_initialized()


@pytest.fixture
def silent():
    """A port where somebody listens who is no Ray."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "192.0.2.255:6379"])
def test_nobody_at_the_address(address):
    with pytest.raises(ConnectionError, match=r"(head node|client server).* answers there"):
        ray.init(address)


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_somebody_else_at_the_address(form, silent):
    with pytest.raises(ConnectionError, match=str(silent)):
        ray.init(form.format(silent))


def test_auto_without_a_cluster(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # else it looks for one on this machine
    with pytest.raises(ConnectionError, match=r"auto.*127\.0\.0\.1:1"):
        ray.init("auto")


def test_sizes_of_a_cluster_are_its_own(one_node):
    with pytest.raises(ValueError, match="num_cpus"):
        ray.init(one_node.address, num_cpus=2)


def test_another_version_of_ray(one_node):
    client = one_node.head_node.get_gcs_client()
    key, space = b"CLUSTER_METADATA", b"cluster"
    kept = client.internal_kv_get(key, space)
    client.internal_kv_put(
        key, json.dumps({**json.loads(kept), "ray_version": "2.61.3"}).encode(), True, space
    )
    try:
        with pytest.raises(ImportError, match=r"2\.61\.3(.|\n)*pip install ray==2\.61\.3"):
            ray.init(one_node.address)
    finally:
        client.internal_kv_put(key, kept, True, space)


@pytest.mark.parametrize("without_heliostat", ["always"], indirect=True)
def test_workers_that_cannot_have_heliostat(without_heliostat):
    with pytest.raises(RuntimeEnvSetupError, match=r"No module(.|\n)*pip install heliostat=="):
        ray.init(without_heliostat.address)


def test_a_number_of_nodes_that_is_none(one_node, monkeypatch):
    monkeypatch.setenv("HELIOSTAT_MAX_NODES", "many")
    with pytest.raises(ValueError, match="HELIOSTAT_MAX_NODES='many' is no number of machines"):
        ray.init(one_node.address, log_to_driver=False)
    assert not ray.is_initialized()
    monkeypatch.delenv("HELIOSTAT_MAX_NODES")
    with ray.init(one_node.address, log_to_driver=False):
        assert ray.cluster_resources()["CPU"] >= 1


def test_a_cluster_without_gpus(one_node):
    @ray.remote(num_gpus=1)
    def task():
        return 1

    @ray.remote(num_gpus=1)
    class Actor:
        pass

    ray.init(one_node.address, log_to_driver=False)
    try:
        with pytest.raises(TaskUnschedulableError, match=r"GPU(.|\n)*--num-gpus"):
            task.remote()
        with pytest.raises(ActorUnschedulableError, match="GPU"):
            Actor.remote()
        with pytest.raises(ValueError, match="GPU"):
            ray.util.placement_group([{"GPU": 1}])
    finally:
        ray.shutdown()
