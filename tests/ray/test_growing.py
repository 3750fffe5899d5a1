"""A cluster that grows: what does not fit yet waits for the nodes that it is told may come."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import heliostat as ray
from heliostat import train
from heliostat.exceptions import ActorUnschedulableError
from heliostat.testing.clock import until
from heliostat.train.data_parallel_trainer import DataParallelTrainer
from tests.ray import cluster

pytest.importorskip("ray.cluster_utils")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about itself
]


def is_full():
    return ray.available_resources().get("CPU", 0) == 0


def test_a_run_waits_for_nodes_that_are_added_for_it(tmp_path, monkeypatch):
    def fit():
        workers = train.ScalingConfig(num_workers=3, resources_per_worker={"CPU": 2})
        kept = train.RunConfig(storage_path=str(tmp_path))
        trainer = DataParallelTrainer(loop, scaling_config=workers, run_config=kept)
        return trainer.fit()

    def loop():
        train.report({"size": train.get_context().get_world_size()})

    monkeypatch.setenv("HELIOSTAT_MAX_NODES", "3")  # of all its processes, as in a pod
    with cluster.nodes({"num_cpus": 0}, {"num_cpus": 2}) as nodes:
        ray.init(nodes.address, log_to_driver=False)
        monkeypatch.delenv("HELIOSTAT_MAX_NODES")
        with pytest.raises(ActorUnschedulableError, match="6 CPU"):
            fit()
        monkeypatch.setenv("HELIOSTAT_MAX_NODES", "3")
        assert ray.cluster_resources()["CPU"] == 6
        names = [name for name in ray.cluster_resources() if name.startswith("node:1")]
        assert sum(ray.cluster_resources()[name] for name in names) == 2  # of those that are there
        with ThreadPoolExecutor(1) as thread:
            fitted = thread.submit(fit)
            until(is_full, "one rank has its place, and the others wait", 60)
            for _ in range(2):
                nodes.add_node(**{**cluster.NODE, "num_cpus": 2})
            assert fitted.result(120).metrics["size"] == 3
        monkeypatch.setenv("HELIOSTAT_MAX_NODES", "2")
        until(lambda: ray.cluster_resources()["CPU"] == 6, "they are there now", 20)
        with pytest.raises(ValueError, match="CPU: 8"):
            ray.util.placement_group([{"CPU": 2}] * 4)
