"""A cluster whose autoscaler adds nodes: what does not fit yet waits for them."""

import pytest

import heliostat as ray
from heliostat import train
from heliostat.exceptions import ActorUnschedulableError
from heliostat.testing import leaks
from heliostat.testing.clock import until
from heliostat.train.data_parallel_trainer import DataParallelTrainer

utils = pytest.importorskip("ray.cluster_utils")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about itself
]


@pytest.fixture
def growing(monkeypatch):
    """A head without CPUs, and one worker of two; its autoscaler may have three."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    workers = {"resources": {"CPU": 2}, "node_config": {}, "min_workers": 1, "max_workers": 3}
    cluster = utils.AutoscalingCluster({"CPU": 0}, {"workers": workers}, idle_timeout_minutes=5)
    before = leaks.take_census().processes
    cluster.start()
    ray.init("auto", log_to_driver=False)
    until(lambda: ray.cluster_resources().get("CPU"), "the first worker is there", 60)
    yield
    ray.shutdown()
    cluster.shutdown()
    until(lambda: leaks.take_census().processes.keys() <= before.keys(), "it is gone", 60)


def test_a_run_waits_for_nodes_that_are_added_for_it(growing, tmp_path, monkeypatch):
    def fit():
        workers = train.ScalingConfig(num_workers=3, resources_per_worker={"CPU": 2})
        kept = train.RunConfig(storage_path=str(tmp_path))
        trainer = DataParallelTrainer(loop, scaling_config=workers, run_config=kept)
        return trainer.fit()

    def loop():
        train.report({"size": train.get_context().get_world_size()})

    with pytest.raises(ActorUnschedulableError, match="6 CPU"):
        fit()
    monkeypatch.setenv("HELIOSTAT_MAX_NODES", "3")
    assert ray.cluster_resources()["CPU"] == 6
    assert fit().metrics["size"] == 3
    assert len([node for node in ray.nodes() if node["Resources"].get("CPU")]) == 3
