"""Driving a pipeline: errors, pools and kills; on the inline engine, then with real processes."""

import os
import signal
import threading
import time

import numpy as np
import pyarrow as pa
import pytest

import heliostat as ray
from heliostat.data import _execute
from heliostat.data._execute import check_room, pack
from heliostat.data._optimize import Stage
from heliostat.data._plan import Actors, Here, Tasks
from heliostat.data.block import Bundle
from heliostat.exceptions import RayActorError, RayTaskError, WorkerCrashedError


class Refused(Exception):
    """The user's own class."""


def refuse(row):
    raise Refused(f"row {row['id']}")


class Counter:
    """Adds what it was built with and counts its calls."""

    def __init__(self, base, step=1):
        self.value = base
        self.step = step

    def __call__(self, batch, factor=1):
        self.value += self.step
        size = len(batch["id"])
        return {
            "id": batch["id"] * factor,
            "value": np.full(size, self.value),
            "pid": np.full(size, os.getpid()),
        }


class NoModel:
    """Cannot be built."""

    def __init__(self):
        raise Refused("no model")

    def __call__(self, batch):
        return batch


def test_the_users_exception_comes_out_as_its_own_class_and_says_where(inline):
    with pytest.raises(Refused, match="row 0") as caught:
        ray.data.range(3).map(refuse).take_all()
    assert isinstance(caught.value, RayTaskError)
    assert "raised in Map(refuse) of a Dataset" in str(caught.value)
    assert "run_steps" not in str(caught.value)


def test_an_error_in_a_constructor_comes_out_as_its_own_class(inline):
    with pytest.raises(Refused, match="no model"):
        ray.data.range(3).map_batches(NoModel, concurrency=1).take_all()


def test_a_pool_that_can_never_start_is_refused_at_once(inline):
    ds = ray.data.range(3).map_batches(Counter, fn_constructor_args=(0,), num_cpus=3, concurrency=2)
    with pytest.raises(ValueError, match="need 6 CPU, but there are 4"):
        ds.take_all()


def test_room_counts_tasks_beside_actors():
    pool = Stage("pool", Actors(2, 2, 2, options=(("num_cpus", 1),)))
    tasks = Stage("tasks", Tasks())
    check_room([pool, Stage("here", Here())], {"CPU": 2})
    with pytest.raises(ValueError, match="beside tasks that need 1, but there are 2"):
        check_room([pool, tasks], {"CPU": 2})


def test_a_block_is_sent_once_however_many_views_there_are_of_it(inline):
    whole = Bundle.of(pa.table({"id": np.arange(100_000)}))
    parts, tables = pack([whole.view(0, 10), whole.view(10, 5)], share=True)
    assert [(part.argument, part.start, part.rows) for part in parts] == [(0, 0, 10), (0, 10, 5)]
    [ref] = tables
    assert isinstance(ref, ray.ObjectRef)
    assert ray.get(ref).num_rows == 100_000


@pytest.fixture(scope="module")
def local():
    """Real processes, for the tests that need them."""
    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELIOSTAT_PROGRESS", "0")
        ray.init(num_cpus=2)
        yield
        ray.shutdown()


def test_functions_run_in_other_processes_and_order_is_kept(local):
    ds = ray.data.range(1000).map_batches(
        lambda batch: {"id": batch["id"], "pid": np.full(len(batch["id"]), os.getpid())}
    )
    frame = ds.to_pandas()
    assert frame["id"].tolist() == list(range(1000))
    assert os.getpid() not in set(frame["pid"])


def test_a_pool_is_built_once_stays_warm_and_ends_with_its_stage(local):
    ds = ray.data.range(1600).map_batches(
        Counter,
        concurrency=2,
        fn_constructor_args=(10,),
        fn_constructor_kwargs={"step": 2},
        fn_kwargs={"factor": 3},
    )
    frame = ds.to_pandas()
    assert frame["id"].tolist() == [3 * number for number in range(1600)]
    calls = frame.drop_duplicates(["pid", "value"])
    assert len(calls) == 16
    assert all(part["value"].min() == 12 for _, part in calls.groupby("pid"))
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in set(frame["pid"])):
        assert time.monotonic() < deadline, "an actor outlived its stage"
        time.sleep(0.01)


class Closing:
    """Says in a file that it was made, and that it has closed what it had open."""

    def __init__(self, path, patience=0.0):
        self.path, self.patience = path, patience
        self.say("open")

    def say(self, what):
        with open(self.path, "a") as file:
            file.write(what + "\n")

    def __call__(self, batch):
        time.sleep(self.patience * (batch["id"][0] > 0))
        return batch

    def __del__(self):
        self.say("closed")


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_objects_of_a_pool_are_let_go_at_its_end(engine, request, tmp_path):
    request.getfixturevalue(engine)
    said = tmp_path / "said"
    ds = ray.data.range(64, override_num_blocks=8)
    assert ds.map_batches(Closing, concurrency=1, fn_constructor_args=(said,)).count() == 64
    assert said.read_text().split() == ["open", "closed"]


def test_what_is_in_the_midst_of_something_nobody_wants_is_not_waited_for(local, tmp_path):
    ds = ray.data.range(8, override_num_blocks=8)
    slow = ds.map_batches(Closing, concurrency=1, fn_constructor_args=(tmp_path / "said", 60.0))
    started = time.monotonic()
    assert slow.take(1) == [{"id": 0}]
    assert time.monotonic() - started < 8


def test_blocks_outlive_the_actors_that_made_them(local):
    ds = ray.data.range(200_000).map_batches(Counter, concurrency=2, fn_constructor_args=(0,))
    kept = ds.materialize()
    assert kept.size_bytes() == 200_000 * 24
    batches = kept.iter_batches(batch_size=50_000)
    assert [int(batch["id"][-1]) for batch in batches] == [49_999, 99_999, 149_999, 199_999]


def test_batches_run_ahead_of_the_consumer_in_a_thread(local):
    ds = ray.data.range(1000).map(lambda row: row)
    assert [len(batch["id"]) for batch in ds.iter_batches(batch_size=400)] == [400, 400, 200]
    batches = ds.iter_batches(batch_size=10)
    next(batches)
    batches.close()


def test_a_function_that_cannot_travel_names_what_it_holds(local):
    lock = threading.Lock()
    with pytest.raises(TypeError, match="'lock'"):
        ray.data.range(3).map(lambda row: lock and row).take_all()


def test_waiting_for_cpus_that_others_hold_is_said(local, monkeypatch, caplog):
    monkeypatch.setattr(_execute, "PATIENCE_S", 0.1)
    holders = [ray.remote(num_cpus=1)(Counter).remote(0) for _ in range(2)]
    ray.get([holder.__call__.remote({"id": []}) for holder in holders])
    found = []
    ds = ray.data.range(3).map(lambda row: row)
    thread = threading.Thread(target=lambda: found.extend(ds.take_all()))
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while "CPUs are free" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        for holder in holders:
            ray.kill(holder)
        thread.join(30)
    assert len(found) == 3
    assert "Map(<lambda>)" in caplog.text


@pytest.mark.alone
def test_many_blocks_cost_little_to_decide_about(inline):
    start = time.monotonic()
    ds = ray.data.range(2000, override_num_blocks=2000).map_batches(lambda batch: batch)
    assert ds.materialize().num_blocks() == 2000
    assert time.monotonic() - start < 20


def alive(pid):
    try:
        os.kill(int(pid), 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def die_once(batch, marker):
    if 500 in batch["id"]:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return batch
        os.kill(os.getpid(), signal.SIGKILL)
    return batch


class DieOnce:
    """The same as a callable class."""

    def __call__(self, batch, marker):
        return die_once(batch, marker)


@pytest.mark.parametrize("fn", [die_once, DieOnce])
def test_a_worker_killed_in_the_middle_is_replaced_and_no_row_is_lost(local, fn, tmp_path):
    marker = str(tmp_path / "died")
    kept = ray.data.range(1000).map_batches(fn, fn_args=(marker,)).materialize()
    assert os.path.exists(marker)
    assert [row["id"] for row in kept.iter_rows()] == list(range(1000))
    assert " retries" in kept.stats()


def test_a_row_that_kills_every_worker_is_an_error_and_no_hang(local):
    def die(row):
        os.kill(os.getpid(), signal.SIGKILL)

    class Deadly:
        def __call__(self, row):
            die(row)

    with pytest.raises(WorkerCrashedError, match=r"while it ran Map\(.*die\)"):
        ray.data.range(1).map(die).take_all()
    with pytest.raises(RayActorError, match=r"actor MapWorker\(Map\(Deadly\)\)"):
        ray.data.range(1).map(Deadly, concurrency=1).take_all()


def test_the_same_seed_gives_the_same_rows_whatever_the_workers(local):
    ds = ray.data.range(500).map(lambda row: {"id": row["id"] * 7}).random_shuffle(seed=5)
    here = ds.take_all()
    assert here == ds.take_all()
    train, test = ray.data.range(500).train_test_split(0.3, shuffle=True, seed=5)
    order = [row["id"] for row in [*train.take_all(), *test.take_all()]]
    assert [row["id"] for row in here] == [7 * number for number in order]


def test_a_consumer_that_leaves_early_leaves_no_work_behind(local):
    rows = ray.data.range(10_000).map_batches(lambda batch: batch).iter_rows()
    assert next(rows) == {"id": 0}
    rows.close()
    assert len(ray.data.range(100).map(lambda row: row).take_all()) == 100


def test_a_dataset_travels_into_a_task(local):
    @ray.remote
    def total(ds):
        return sum(int(batch["data"].sum()) for batch in ds.iter_batches(batch_size=100))

    first, second = ray.data.from_numpy(np.ones((1000, 50))).split(2)
    assert ray.get([total.remote(first), total.remote(second.iterator())]) == [25_000, 25_000]


def test_reads_in_workers_name_a_corrupt_file(local, tmp_path):
    for number in range(20):
        ray.data.range(10).write_parquet(tmp_path / f"part{number}")
    ds = ray.data.read_parquet(str(tmp_path)).map(lambda row: row)
    victim = ds.input_files()[13]
    size = os.path.getsize(victim)
    with open(victim, "r+b") as file:
        file.write(b"\xff" * (size - 60))
    with pytest.raises((ValueError, OSError)) as caught:
        ds.take_all()
    assert victim in str(caught.value)
