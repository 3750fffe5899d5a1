import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import fs

import heliostat
from heliostat.train import (
    Checkpoint,
    CheckpointConfig,
    DataParallelTrainer,
    FailureConfig,
    Result,
    RunConfig,
    ScalingConfig,
    get_all_reported_checkpoints,
    get_checkpoint,
    get_context,
    report,
)
from heliostat.train._remote import RemoteDirectory


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


@pytest.fixture
def run(store):
    opened = RemoteDirectory.open("runs", store, "run", "Trainer")
    opened.append("begin", boot="")
    yield opened
    opened.close()


def source(tmp_path, **files):
    directory = tmp_path / f"source-{len(os.listdir(tmp_path))}"
    directory.mkdir()
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


def test_what_is_not_in_the_log_is_swept_and_what_is_stays(run, tmp_path):
    for name in ("kept", "torn"):
        assert run.store(source(tmp_path, model=name), 1, 0, 0, name) == name
        assert not run.taken(name)  # other ranks' files are to come
    run.append("report", checkpoint="kept", metrics={}, flush=False)
    again = RemoteDirectory.open("runs", run.filesystem, "run", "Trainer")
    assert (again.has("kept"), again.has("torn"), again.taken("kept")) == (True, False, True)
    assert sorted(os.listdir(tmp_path / "store/runs/run")) == ["kept", "run.jsonl"]


def test_a_report_with_a_checkpoint_is_in_the_log_at_once_and_others_by_and_by(run, tmp_path):
    log = tmp_path / "store/runs/run/run.jsonl"
    for n in range(50):
        run.append("report", checkpoint=None, metrics={"n": n}, flush=False)
    run.append("report", checkpoint="c", metrics={"n": 50}, flush=False)
    assert len(log.read_text().splitlines()) == 52
    run.append("report", checkpoint=None, metrics={"n": 51}, flush=False)
    run.close()
    assert json.loads(log.read_text().splitlines()[-1])["metrics"] == {"n": 51}


def test_a_torn_last_line_does_not_count_and_the_log_goes_on_after_it(run, store):
    with store.open_output_stream("runs/run/run.jsonl") as log:
        log.write(b'{"kind": "begin"}\n{"kind": "rep')
    again = RemoteDirectory.open("runs", store, "run", "Trainer")
    again.append("end", error=None)
    again = RemoteDirectory.open("runs", store, "run", "Trainer")
    assert [e["kind"] for e in again.entries()] == ["begin", "end"]


def test_numbers_go_on_and_names_are_free_again_after_deleting(run, tmp_path):
    run.store(source(tmp_path, model="m"), 1, 0, 0, "checkpoint_000041")
    assert run.next_number() == 42
    run.delete("checkpoint_000041")
    run.delete("checkpoint_000041")
    assert run.next_number() == 0


def test_a_new_name_is_taken_by_nobody(store):
    names = {RemoteDirectory.open("runs", store, None, "T").name for _ in range(3)}
    assert len(names) == 3


def test_a_checkpoint_beyond_this_machine_is_read_by_copying(store, tmp_path):
    store.create_dir("model")
    with store.open_output_stream("model/weights") as file:
        file.write(b"7")
    checkpoint = pickle.loads(pickle.dumps(Checkpoint("model", store)))
    assert checkpoint == Checkpoint("model", store) != Checkpoint("model")
    assert checkpoint.filesystem == store
    with checkpoint.as_directory() as copy:
        assert Path(copy, "weights").read_text() == "7"
    assert not os.path.exists(copy)
    assert Path(checkpoint.to_directory(tmp_path / "mine"), "weights").read_text() == "7"
    assert checkpoint.get_metadata() == {}
    checkpoint.update_metadata({"rows": 7})
    assert Checkpoint("model", store).get_metadata() == {"rows": 7}
    with pytest.raises(TypeError, match="as_directory"):
        os.fspath(checkpoint)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Checkpoint("nowhere", store).to_directory()
    with pytest.raises(ValueError, match="cannot use the URI 'nosuch://x'"):
        Checkpoint("nosuch://x")


def counting(config):
    """Counts to `n`, saving each step; fails once at `fail_at`, with files of its own half stored."""
    rank, last = get_context().get_world_rank(), get_checkpoint()
    start = 0
    if last is not None:
        with last.as_directory() as copy:
            assert sorted(os.listdir(copy)) == ["rank-0", "rank-1"]
            start = int(Path(copy, f"rank-{rank}").read_text()) + 1
    for step in range(start, config["n"]):
        directory = Path(config["scratch"], f"{step}-{rank}-{start}")
        directory.mkdir(parents=True)
        (directory / f"rank-{rank}").write_text(str(step))
        if step == config.get("fail_at") and last is None and rank == 1:
            raise ValueError(f"no {step}")
        mode = config.get("mode", "SYNC")
        report({"step": step}, checkpoint=Checkpoint(directory), checkpoint_upload_mode=mode)
        report({"step": step + 0.5})
    return [c.checkpoint.path for c in get_all_reported_checkpoints()]


def trainer(store, tmp_path, loop=counting, loop_config=None, **options):
    return DataParallelTrainer(
        loop,
        train_loop_config={"n": 4, "scratch": str(tmp_path / "scratch"), **(loop_config or {})},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(
            storage_path="runs", storage_filesystem=store, name="run", verbose=0, **options
        ),
    )


@pytest.mark.parametrize("mode", ["SYNC", "ASYNC"])
def test_a_run_survives_a_failure_and_keeps_what_it_shall(store, tmp_path, mode):
    result = trainer(
        store,
        tmp_path,
        loop_config={"fail_at": 2, "mode": mode},
        failure_config=FailureConfig(max_failures=1),
        checkpoint_config=CheckpointConfig(num_to_keep=2),
    ).fit()
    names = [f"checkpoint_{number:06d}" for number in (2, 3)]
    there = sorted(os.listdir(tmp_path / "store/runs/run"))
    assert [n for n in there if n.startswith("checkpoint")] == there[: len(names)]
    assert there[len(names) :] == ["run.jsonl"]
    assert result.path == "runs/run"
    assert result.filesystem == store
    assert result.metrics == {"step": 3.5}
    assert result.return_value[-1] == result.checkpoint.path
    back = Result.from_path("runs/run", store)
    assert back.metrics_dataframe.equals(result.metrics_dataframe)
    assert back.checkpoint == result.checkpoint
    with back.checkpoint.as_directory() as copy:
        assert Path(copy, "rank-1").read_text() == "3"


def test_a_run_that_failed_is_restored_and_then_goes_on(store, tmp_path):
    with pytest.raises(Exception, match="no 2"):
        trainer(store, tmp_path, loop_config={"fail_at": 2}).fit()
    assert DataParallelTrainer.can_restore("runs/run", store)
    assert not DataParallelTrainer.can_restore("runs/other", store)
    restored = DataParallelTrainer.restore(
        "runs/run",
        counting,
        train_loop_config={"n": 4, "scratch": str(tmp_path / "scratch"), "fail_at": 2},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_filesystem=store, verbose=0),
    )
    assert restored.fit().metrics == {"step": 3.5}
    assert DataParallelTrainer.can_restore("runs/run", store)


def test_names_are_given_once_and_a_checkpoint_of_elsewhere_is_refused(store, tmp_path):
    def loop(config):
        scratch = Path(config["scratch"], str(get_context().get_world_rank()))
        scratch.mkdir(parents=True)
        for _ in range(2):
            report({}, checkpoint=Checkpoint(scratch), checkpoint_dir_name="best")

    with pytest.raises(Exception, match=r"'best'.*there is one of this name"):
        trainer(store, tmp_path, loop).fit()

    def elsewhere(config):
        other = Checkpoint("other", config["store"])
        report({}, checkpoint=other, checkpoint_upload_mode="NO_UPLOAD")

    store.create_dir("other")
    with pytest.raises(Exception, match="in the run's own directory, runs/run"):
        trainer(store, tmp_path, elsewhere, {"store": store}).fit()


def test_a_store_that_ranks_do_not_share_and_one_that_cannot_be_written_to_are_refused(tmp_path):
    def run(path, store=None):
        config = RunConfig(storage_path=path, storage_filesystem=store, verbose=0)
        DataParallelTrainer(print, run_config=config).fit()

    with pytest.raises(ValueError, match="memory:// of its own"):
        run("memory://runs")
    (tmp_path / "file").write_text("")
    below = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    with pytest.raises(OSError, match="storage_path='file/runs' on subtree cannot be written to"):
        run("file/runs", below)


# In a process of its own: the client of Arrow keeps threads and descriptors for as long as it lives.
S3 = """
import itertools, json, logging, os, tempfile, threading
from pathlib import Path
import heliostat as ray
from heliostat import train
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

def loop(config):
    last, rank = train.get_checkpoint(), train.get_context().get_world_rank()
    start = 0
    if last:
        with last.as_directory() as copy:
            start = int(Path(copy, "step").read_text()) + 1
    for step in range(start, 3):
        if step == 1 and not last and rank:
            raise ValueError("once")
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "step" if rank == 0 else "other").write_text(str(step))
            train.report({"step": step}, checkpoint=train.Checkpoint(directory))

ray.init(num_cpus=2)
shaking.set()
result = train.DataParallelTrainer(
    loop, train_loop_config={}, scaling_config=train.ScalingConfig(num_workers=2),
    run_config=train.RunConfig(
        name="run", storage_path="s3://bucket/runs" + query, verbose=0,
        failure_config=train.FailureConfig(max_failures=1),
        checkpoint_config=train.CheckpointConfig(num_to_keep=2))).fit()
back = train.Result.from_path(f"s3://bucket/runs/run{query}")
with back.checkpoint.as_directory() as copy:
    files = sorted(os.listdir(copy))
print(json.dumps([result.path, result.metrics, len(back.best_checkpoints), files, len(errors) > 3]))
listed = client.get_file_info(fs.FileSelector("bucket/runs/run"))
print(sorted(entry.base_name for entry in listed))
ray.shutdown()
os._exit(0)
"""


def test_a_run_in_an_object_store_that_fails_now_and_then():
    pytest.importorskip("moto")
    pytest.importorskip("flask")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", S3], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told, listed = done.stdout.splitlines()
    assert json.loads(told) == ["bucket/runs/run", {"step": 2}, 2, ["other", "step"], True]
    assert listed == "['checkpoint_000001', 'checkpoint_000002', 'run.jsonl']"
