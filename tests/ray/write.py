"""Write tests/ray/written: a run of Ray Train's and a study of Ray Tune's, for those who read them.

`python tests/ray/write.py`, with an interpreter that has ray[train,tune]. What is pickled is left out,
but for what is small and plain; names of the machine are made equal, so that a second run differs in
times and identifiers alone.
"""

import json
import os
import shutil
import socket
import tempfile
from pathlib import Path

from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

import ray
from ray import train, tune

WRITTEN = Path(__file__).parent / "written"
STORAGE = "/tmp/written-by-ray"
LEFT_OUT = ("*.pkl", "events.out.*", "basic-variant-*", ".validate_storage_marker")


def saved(step):
    folder = tempfile.mkdtemp()
    Path(folder, "step").write_text(str(step))
    checkpoint = train.Checkpoint.from_directory(folder)
    checkpoint.set_metadata({"step": step})
    return checkpoint


def loop(config):
    for step in range(3):
        rank = train.get_context().get_world_rank()
        metrics = {"step": step, "loss": config["lr"] / (step + 1) if step != 1 else 0.01}
        train.report(metrics, checkpoint=saved(step) if rank == 0 else None)


def objective(config):
    for step in range(3):
        checkpoint = saved(step) if config["x"] != 3 else None
        tune.report({"score": config["x"] * step, "inner": {"a": step}}, checkpoint=checkpoint)
        if config["x"] == 2 and step == 1:
            raise ValueError("no two")


def write():
    keep = train.CheckpointConfig(
        num_to_keep=2, checkpoint_score_attribute="loss", checkpoint_score_order="min"
    )
    DataParallelTrainer(
        loop,
        train_loop_config={"lr": 0.5},
        scaling_config=train.ScalingConfig(num_workers=2),
        run_config=train.RunConfig(storage_path=STORAGE, name="run", checkpoint_config=keep),
    ).fit()
    tune.Tuner(
        objective,
        param_space={"x": tune.grid_search([1, 2, 3]), "more": {"lr": 0.1}},
        run_config=tune.RunConfig(storage_path=STORAGE, name="study", verbose=0),
    ).fit()


def copy():
    shutil.rmtree(WRITTEN, ignore_errors=True)
    shutil.copytree(STORAGE, WRITTEN, ignore=shutil.ignore_patterns(*LEFT_OUT))
    address = ray.util.get_node_ip_address()
    for path in filter(Path.is_file, WRITTEN.rglob("*")):
        text = path.read_text().replace(socket.gethostname(), "machine")
        for place in (Path(ray.__file__).parents[1], WRITTEN.parents[2]):
            text = text.replace(f"{place}/", "")
        path.write_text(text.replace(address, "127.0.0.1"))
    # Ray keeps what it has pickled as digits in the file of the study.
    (states,) = WRITTEN.glob("study/experiment_state-*.json")
    study = json.loads(states.read_text())
    study["trial_data"] = [[plain(state), "{}"] for state, _ in study["trial_data"]]
    states.write_text(json.dumps({"trial_data": study["trial_data"]}, indent=1))


def plain(state):
    """A trial's state without what is pickled in it."""
    parts = json.loads(state)
    return json.dumps({key: value for key, value in parts.items() if not is_pickled(value)})


def is_pickled(value):
    return (isinstance(value, dict) and "_type" in value) or (
        isinstance(value, str) and value.startswith("80059")
    )


if __name__ == "__main__":
    shutil.rmtree(STORAGE, ignore_errors=True)
    os.makedirs(STORAGE)
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        _system_config={"prestart_worker_first_driver": False},
    )
    write()
    copy()
    ray.shutdown()
    shutil.rmtree(STORAGE)
