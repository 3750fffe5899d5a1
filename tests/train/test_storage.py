import errno
import json
import os

import pytest

from heliostat._boot import boot_id
from heliostat.train._storage import LOG, RunDirectory, copy_to_stage, not_flushed, read_log


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory.open(tmp_path, "run", "Trainer")
    directory.append("begin")
    yield directory
    directory.close()


def stage(run, tmp_path, rank, **files):
    source = tmp_path / f"source-{rank}"
    for name, text in files.items():
        path = source / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    copy_to_stage(source, run.stage(1, 0), rank)


def test_a_commit_joins_the_ranks_files(run, tmp_path):
    stage(run, tmp_path, 0, model="m", state__a="0")
    stage(run, tmp_path, 1, state__b="1")
    path = run.commit(run.stage(1, 0), "checkpoint_000000")
    assert (path / "model").read_text() == "m"
    assert sorted(os.listdir(path / "state")) == ["a", "b"]
    assert sorted(os.listdir(run.path)) == ["checkpoint_000000", LOG]


def test_of_two_files_of_one_name_the_lowest_ranks_stays(run, tmp_path):
    for rank in (11, 2):
        stage(run, tmp_path, rank, model=str(rank))
    assert (run.commit(run.stage(1, 0), "c") / "model").read_text() == "2"


def test_nothing_is_seen_before_the_commit_and_a_sweep_leaves_nothing(run, tmp_path):
    stage(run, tmp_path, 0, model="m")
    assert [e for e in os.listdir(run.path) if not e.startswith(".")] == [LOG]
    run.sweep()
    assert os.listdir(run.path) == [LOG]


def test_a_commit_never_overwrites(run, tmp_path):
    stage(run, tmp_path, 0, model="m")
    (run.path / "best").mkdir()
    with pytest.raises(FileExistsError, match="best"):
        run.commit(run.stage(1, 0), "best")


def test_a_checkpoint_is_flushed_before_the_directory_is_closed_and_the_log_says_so(run, tmp_path):
    stage(run, tmp_path, 0, model="m")
    run.append("report", checkpoint="c", metrics={})
    run.commit(run.stage(1, 0), "c")
    run.close()
    assert read_log(run.path)[-1]["kind"] == "flushed"


@pytest.mark.parametrize(
    ("boot", "flushed", "torn"),
    [
        ("another", [], {"a", "b"}),
        ("another", ["a"], {"b"}),
        (boot_id(), [], set()),
        ("", [], set()),
    ],
)
def test_what_was_not_flushed_counts_only_while_the_machine_is_up(boot, flushed, torn):
    entries = [
        {"kind": "begin", "boot": boot},
        {"kind": "report", "checkpoint": "a"},
        {"kind": "report", "checkpoint": None},
        {"kind": "report", "checkpoint": "/stays/where/it/is"},
        {"kind": "report", "checkpoint": "b"},
        *({"kind": "flushed", "checkpoint": name} for name in flushed),
    ]
    assert not_flushed(entries) == torn
    later = [*entries, {"kind": "resume", "boot": boot_id()}, {"kind": "report", "checkpoint": "c"}]
    assert not_flushed(later) == torn


def test_numbers_go_on_where_they_were(run):
    assert run.next_number() == 0
    for name in ("checkpoint_000007", "checkpoint_000003", "best"):
        (run.path / name).mkdir()
    assert run.next_number() == 8


def test_the_log_holds_numbers_of_numpy_nan_and_anything_else_as_text(run):
    import numpy as np

    metrics = {
        "a": np.float32(0.5), "b": np.arange(2), "c": float("nan"), "d": ValueError("x"),
        "e": {(1, 2): 3}, "f": float("inf"),
    }  # fmt: skip
    run.append("report", metrics=metrics)
    read = read_log(run.path)[-1]["metrics"]
    assert read.pop("c") != 0
    assert read == {"a": 0.5, "b": [0, 1], "d": "x", "e": {"(1, 2)": 3}, "f": float("inf")}


def test_a_line_cut_short_does_not_count_and_does_not_spoil_the_next(run, tmp_path):
    run.append("report", n=1)
    run.close()
    with open(run.path / LOG, "a") as log:
        log.write('{"kind": "rep')
    assert [e["kind"] for e in read_log(run.path)] == ["begin", "report"]
    again = RunDirectory.open(tmp_path, "run", "Trainer")
    again.append("end")
    again.close()
    assert [e["kind"] for e in read_log(run.path)] == ["begin", "report", "end"]


def test_a_line_that_is_none_of_ours_is_named(run):
    with open(run.path / LOG, "ab") as log:
        log.write(b"\xff garbage\n")
    with pytest.raises(ValueError, match=r"run\.jsonl, line 2 cannot be read"):
        read_log(run.path)


def test_only_the_last_run_in_a_directory_is_read(run):
    run.append("report", n=1)
    run.append("begin")
    run.append("report", n=2)
    assert [e.get("n") for e in read_log(run.path)] == [None, 2]
    assert len((run.path / LOG).read_text().splitlines()) == 4
    assert all(json.loads(line)["time"] for line in (run.path / LOG).read_text().splitlines())


def test_two_runs_at_once_cannot_share_a_directory(run, tmp_path):
    with pytest.raises(RuntimeError, match="already; give this one another"):
        RunDirectory.open(tmp_path, "run", "Trainer")


def test_unnamed_runs_get_directories_of_their_own(tmp_path):
    runs = [RunDirectory.open(tmp_path, None, "Trainer") for _ in range(3)]
    for run in runs:
        run.close()
    assert len({run.path for run in runs}) == 3


def test_a_path_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OSError, match=r"storage_path='.*file/below' cannot be written to"
    ) as caught:
        RunDirectory.open(tmp_path / "file" / "below", None, "Trainer")
    assert caught.value.errno == errno.ENOTDIR
