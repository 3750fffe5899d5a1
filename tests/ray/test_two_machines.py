"""Two nodes that Ray takes for two machines: a directory that one of them has alone is refused."""

import os

import pytest

import heliostat as ray
from tests.ray import cluster

pytest.importorskip("ray.cluster_utils")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about itself
]


def test_tasks_do_not_write_to_a_disk_of_one_of_several_machines(tmp_path):
    with cluster.nodes({}, {"node_ip_address": "127.0.0.2"}) as nodes:
        ray.init(nodes.address, log_to_driver=False)
        assert len({node["NodeManagerAddress"] for node in ray.nodes()}) == 2
        ds = ray.data.range(10)
        with pytest.raises(ValueError, match=r"path='.*a'.* is on a disk of this machine.*s3://"):
            ds.write_tfrecords(str(tmp_path / "a"))
        with pytest.raises(ValueError, match="is on a disk of this machine"):
            ds.write_parquet(str(tmp_path / "a"), ray_remote_args={"num_cpus": 1})
        assert os.listdir(tmp_path) == []
        ds.write_parquet(str(tmp_path / "b"))  # by the driver's own threads
        assert ray.data.read_parquet(str(tmp_path / "b")).count() == 10
