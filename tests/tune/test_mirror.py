"""Studies that are kept beyond this machine: what is there is what would be here."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from pyarrow import fs

import heliostat
from heliostat import train, tune
from heliostat.tune._mirror import Mirror

ENGINE = None


@pytest.fixture(scope="module", autouse=True)
def session():
    heliostat.init(num_cpus=2)
    yield
    heliostat.shutdown()


@pytest.fixture
def store(tmp_path):
    """A file system that is not this machine's, for all we know."""
    (tmp_path / "store").mkdir()
    return fs.SubTreeFileSystem(str(tmp_path / "store"), fs.LocalFileSystem())


def run_config(store, **more):
    return tune.RunConfig(
        **{
            "name": "study",
            "storage_path": "runs",
            "storage_filesystem": store,
            "verbose": 0,
            **more,
        }
    )


def saving(config):
    last, start = tune.get_checkpoint(), 0
    if last is not None:
        with last.as_directory() as copy:
            start = 1 + int(Path(copy, "step").read_text())
    for step in range(start, 4):
        if step == 2 and last is None and config["x"] == 2:
            raise ValueError("once")
        here = Path(f"made-{step}")  # what is in a trial's directory itself is copied at any time
        here.mkdir(exist_ok=True)
        (here / "step").write_text(str(step))
        tune.report({"loss": config["x"] + step}, checkpoint=tune.Checkpoint(here))


def test_a_study_is_kept_there_and_taken_up_from_there(store, tmp_path):
    keep = tune.CheckpointConfig(num_to_keep=2)
    tuner = tune.Tuner(
        saving,
        param_space={"x": tune.grid_search([1, 2])},
        tune_config=tune.TuneConfig(metric="loss", mode="max"),
        run_config=run_config(
            store, checkpoint_config=keep, callbacks=[tune.logger.CSVLoggerCallback()]
        ),
    )
    grid = tuner.fit()
    assert grid.experiment_path == "runs/study"
    assert grid.filesystem is store
    assert (grid.num_errors, len(grid[0].best_checkpoints)) == (1, 2)
    assert len(grid[0].metrics_dataframe) == 4
    there = tmp_path / "store" / grid[0].path
    found = {"params.json", "result.json", "progress.csv"}
    assert {p.name for p in there.iterdir()} == {*found, "checkpoint_000002", "checkpoint_000003"}
    with grid[0].checkpoint.as_directory() as copy:
        assert os.listdir(copy) == ["step"]

    assert tune.Tuner.can_restore("runs/study", store)
    again = tune.Tuner.restore("runs/study", saving, resume_errored=True, storage_filesystem=store)
    ended = again.fit()
    assert ended.num_errors == 0
    assert ended.get_best_result().metrics["loss"] == 5
    assert [len(result.metrics_dataframe) for result in ended] == [4, 4]
    assert again.get_results()[1].checkpoint.path.startswith(ended[1].path)


def test_a_trainable_class_and_a_trainer_save_there(store, tmp_path):
    class Count(tune.Trainable):
        def setup(self, config):
            self.n = 0

        def step(self):
            self.n += 1
            return {"n": self.n, "done": self.n == 3}

        def save_checkpoint(self, directory):
            Path(directory, "n").write_text(str(self.n))

        def load_checkpoint(self, directory):
            self.n = int(Path(directory, "n").read_text())

    keep = tune.CheckpointConfig(checkpoint_frequency=1)
    first = tune.Tuner(Count, run_config=run_config(store, checkpoint_config=keep)).fit()[0]
    assert [c.path for c, _ in first.best_checkpoints] == [
        f"{first.path}/checkpoint_00000{n}" for n in range(3)
    ]
    assert first.checkpoint.filesystem is store

    def loop(config):
        with tempfile.TemporaryDirectory() as saved:
            Path(saved, "model").write_text("m")
            train.report({"loss": config["x"]}, checkpoint=train.Checkpoint(saved))

    trainer = train.DataParallelTrainer(
        loop, scaling_config=train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1})
    )
    space = {"train_loop_config": {"x": tune.grid_search([3])}}
    inner = tune.Tuner(trainer, param_space=space, run_config=run_config(store, name="inner")).fit()
    assert inner.errors == []
    assert inner[0].checkpoint.path == f"{inner[0].path}/train/checkpoint_000000"
    assert (tmp_path / "store" / inner[0].checkpoint.path / "model").read_text() == "m"


def test_a_study_with_population_based_training_passes_checkpoints_on(store):
    pbt = tune.schedulers.PopulationBasedTraining(
        perturbation_interval=1,
        hyperparam_mutations={"x": [1, 2]},
        quantile_fraction=0.5,
        synch=True,
    )
    tuner = tune.Tuner(
        saving,
        param_space={"x": tune.grid_search([1, 3])},
        tune_config=tune.TuneConfig(metric="loss", mode="max", scheduler=pbt),
        run_config=run_config(store),
    )
    assert tuner.fit().errors == []


def test_a_name_is_new_each_time_and_addresses_hold_no_secrets(store, tmp_path):
    def trial(config):
        return {"loss": 1}

    studies = [tune.Tuner(trial, run_config=run_config(store, name=None)).fit() for _ in range(2)]
    assert len({grid.experiment_path for grid in studies}) == 2
    for grid in studies:
        assert (
            b"SubTree" not in (tmp_path / "store" / grid.experiment_path / "tuner.pkl").read_bytes()
        )
        # Trials without a checkpoint have their files there, too.
        assert (tmp_path / "store" / grid[0].path / "result.json").read_text() != ""


def test_an_older_call_keeps_its_study_there_and_goes_on_with_it(store):
    more = {"name": "old", "storage_path": "runs", "storage_filesystem": store, "verbose": 0}
    with pytest.raises(tune.TuneError, match="once"):
        tune.run(saving, config={"x": 2}, **more)
    done = tune.run(saving, config={"x": 2}, resume="ERRORED_ONLY", **more)
    assert done.get_last_checkpoint(done.trials[0]).path.startswith("runs/old/")
    assert done.get_best_trial("loss", "max").last_result["loss"] == 5
    with pytest.raises(NotImplementedError, match=r"Tuner\.restore\(path, trainable\)"):
        tune.ExperimentAnalysis("runs/old", storage_filesystem=store)
    with pytest.raises(ValueError, match=r"say where progress\.svg"):
        done._grid.plot_progress(metric="loss", mode="max")


def test_what_cannot_be_is_refused_before_a_trial_starts(store, tmp_path):
    def fit(path, filesystem=None):
        config = run_config(filesystem, storage_path=path)
        tune.Tuner(lambda config: {"loss": 1}, run_config=config).fit()

    with pytest.raises(ValueError, match="memory:// of its own"):
        fit("memory://runs")
    (tmp_path / "store" / "file").write_text("")
    with pytest.raises(OSError, match="file/runs/study' on subtree cannot be written to"):
        fit("file/runs", store)
    with pytest.raises(ValueError, match="there is no study in runs/none"):
        tune.Tuner.restore("runs/none", saving, storage_filesystem=store)


def test_a_store_that_fails_for_a_time_gets_all_in_the_end(store, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where it stays in the end
    mirror = Mirror("runs/study", store)
    log, there = mirror.here / "experiment-1.jsonl", tmp_path / "store" / "runs" / "study"
    log.write_text("one\n")
    there.rmdir()
    there.write_text("in the way")
    mirror.update()
    mirror.close()
    assert "the end of the study cannot be written to runs/study" in caplog.text
    assert log.read_text() == "one\n"  # nothing is lost
    there.unlink()
    there.mkdir()
    mirror.update()
    mirror.close()
    assert (there / log.name).read_text() == "one\n"


LEFT = """
import os, signal, sys
from pyarrow import fs
from heliostat.tune._mirror import Mirror
mirror = Mirror("runs/study", fs.SubTreeFileSystem(sys.argv[1], fs.LocalFileSystem()))
print(mirror.here, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_driver_left_here_goes_when_another_begins(store, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    alive = Mirror("runs/alive", store)
    program = [sys.executable, "-c", LEFT, str(tmp_path / "store")]
    left = Path(subprocess.run(program, capture_output=True, text=True, check=False).stdout.strip())
    assert left.is_relative_to(tmp_path)
    assert left.is_dir()
    another = Mirror("runs/another", store)
    assert not left.parent.exists()
    assert alive.here.is_dir()
    assert another.here.is_dir()


# In a process of its own: the client of Arrow keeps threads and descriptors for as long as it lives.
S3 = """
import itertools, json, logging, os, tempfile, threading
from pathlib import Path
import heliostat as ray
from heliostat import tune
import moto.moto_server.threaded_moto_server as threaded
from pyarrow import fs

logging.getLogger("werkzeug").setLevel(logging.ERROR)
os.environ.update(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_EC2_METADATA_DISABLED="true")
plain, shaking, errors = threaded.DomainDispatcherApplication, threading.Event(), []

def shaky(*args, **kwargs):
    '''Every ninth answer is an error.'''
    app, numbers = plain(*args, **kwargs), itertools.count(1)
    def answer(environ, start_response):
        number = next(numbers)
        if not shaking.is_set() or number % 9:
            return app(environ, start_response)
        errors.append(number)
        status = "503 Slow Down" if number % 2 else "500 Internal Server Error"
        start_response(status, [("Content-Length", "0")])
        return [b""]
    return answer

threaded.DomainDispatcherApplication = shaky
server = threaded.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
client = fs.S3FileSystem(endpoint_override=f"{host}:{port}", scheme="http", region="us-east-1", allow_bucket_creation=True)
client.create_dir("bucket")
query = f"?endpoint_override={host}%3A{port}&scheme=http&region=us-east-1"

def trial(config):
    for step in range(2):
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "step").write_text(str(step))
            tune.report({"loss": config["x"] + step}, checkpoint=tune.Checkpoint(directory))

ray.init(num_cpus=2)
shaking.set()
grid = tune.Tuner(
    trial, param_space={"x": tune.grid_search([1, 2])},
    run_config=tune.RunConfig(name="study", storage_path="s3://bucket/runs" + query, verbose=0)).fit()
back = tune.Tuner.restore("s3://bucket/runs/study" + query, trial).get_results()
with back[1].checkpoint.as_directory() as copy:
    step = Path(copy, "step").read_text()
print(json.dumps([back.experiment_path, back.get_best_result("loss", "max").metrics["loss"], step, len(errors) > 3]))
ray.shutdown()
del grid, back
os._exit(0)
"""


def test_a_study_in_an_object_store_that_fails_now_and_then():
    pytest.importorskip("moto")
    pytest.importorskip("flask")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", S3], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == ["bucket/runs/study", 3, "1", True]
