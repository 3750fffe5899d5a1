import json
import os
import socket

import pytest

import heliostat
from heliostat.train import RunConfig, ScalingConfig, report
from heliostat.train.tensorflow import TensorflowTrainer


def fit(tmp_path, size):
    def loop():
        told = json.loads(os.environ["TF_CONFIG"])
        port = int(told["cluster"]["worker"][told["task"]["index"]].rpartition(":")[2])
        with socket.socket() as server:  # as gRPC does, which asks for this too
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            server.bind(("127.0.0.1", port))
            server.listen()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        report(told)

    return TensorflowTrainer(
        loop,
        scaling_config=ScalingConfig(num_workers=size),
        run_config=RunConfig(storage_path=tmp_path, verbose=0, name="run"),
    ).fit()


def test_every_rank_finds_all_ranks_and_itself_in_tf_config_and_may_listen_there(tmp_path):
    heliostat.init(num_cpus=2)
    try:
        fit(tmp_path, 2)
    finally:
        heliostat.shutdown()
    lines = map(json.loads, (tmp_path / "run" / "run.jsonl").read_text().splitlines())
    said = next(entry for entry in lines if entry["kind"] == "report")
    first, second = said["metrics"], said["ranks"][0]
    assert first["cluster"] == second["cluster"]
    assert len(set(first["cluster"]["worker"])) == 2
    assert first["task"] == {"type": "worker", "index": 0}
    assert second["task"] == {"type": "worker", "index": 1}


def test_a_process_that_goes_on_is_left_without_tf_config(tmp_path):
    heliostat.init(engine="inline", num_cpus=2)
    try:
        assert fit(tmp_path, 1).metrics["task"]["index"] == 0
        with pytest.raises(Exception, match="must run at once"):
            fit(tmp_path, 2)
    finally:
        heliostat.shutdown()
    assert "TF_CONFIG" not in os.environ


def test_the_trainer_takes_no_other_configuration():
    with pytest.raises(TypeError, match="TensorflowConfig"):
        TensorflowTrainer(print, tensorflow_config={})
