"""Through Ray's client server: what a driver elsewhere can do, and what it is refused."""

import socket

import numpy as np
import pytest

import heliostat as ray
from heliostat import data, serve, train, tune
from heliostat.testing.clock import until
from heliostat.train.data_parallel_trainer import DataParallelTrainer
from tests.ray import cluster

pytest.importorskip("ray.cluster_utils")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about itself
]


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def client():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with cluster.nodes({}, {}, ray_client_server_port=port):
        until(lambda: is_open(port), "the client server listens", 60)
        ray.init(f"ray://127.0.0.1:{port}", log_to_driver=False)
        yield


def test_tasks_actors_and_arrays_pass(client):
    @ray.remote
    def double(x):
        return x * 2

    @ray.remote
    class Kept:
        def __init__(self, value):
            self.value = value

        def get(self):
            return self.value

        def fail(self):
            raise KeyError("mine")

    ref = double.remote(ray.put(np.arange(100_000)))
    kept = Kept.remote({"inside": ref})
    inside = ray.get(kept.get.remote(), timeout=60)["inside"]
    assert ray.get(inside).sum() == 2 * sum(range(100_000))
    assert ray.wait([inside], timeout=60) == ([inside], [])
    with pytest.raises(KeyError, match="mine"):
        ray.get(kept.fail.remote(), timeout=60)


def test_a_stream_is_refused_and_says_where_it_would_run(client):
    @ray.remote
    def numbers():
        yield 1

    with pytest.raises(NotImplementedError, match=r"numbers\b.*ray job submit"):
        numbers.remote()


def test_the_libraries_run(client, tmp_path):
    assert data.range(100).map_batches(lambda batch: {"id": batch["id"] * 2}).sum("id") == 9900

    def loop():
        train.report({"size": train.get_context().get_world_size()})

    kept = train.RunConfig(storage_path=str(tmp_path))
    workers = train.ScalingConfig(num_workers=2)
    result = DataParallelTrainer(loop, scaling_config=workers, run_config=kept).fit()
    assert result.metrics["size"] == 2
    space = {"x": tune.grid_search([1, 2, 3])}
    tuner = tune.Tuner(
        lambda config: tune.report({"x": config["x"]}),
        param_space=space,
        run_config=tune.RunConfig(storage_path=str(tmp_path)),
    )
    assert sorted(each.metrics["x"] for each in tuner.fit()) == [1, 2, 3]

    @serve.deployment
    class Echo:
        def say(self, word):
            return word

    serve.start(http_options={"port": 0})
    assert serve.run(Echo.bind()).say.remote("hi").result(timeout_s=60) == "hi"
    serve.shutdown()
