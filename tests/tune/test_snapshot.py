"""What is on disk: an append-only log with one writer that a kill cannot spoil, and trials' files."""

import csv
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat import tune
from heliostat.tune import _snapshot as snap

ENGINE = None
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


def same(a, b):
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(JSON)
def test_any_value_comes_back_through_json_as_it_was(value):
    text = json.dumps(snap.encode(value), allow_nan=False)
    assert same(value, snap.decode(json.loads(text)))


def test_what_json_does_not_know_is_pickled():
    value = {"a": (1, {2}), "b": np.float32(0.5)}
    assert snap.decode(json.loads(json.dumps(snap.encode(value)))) == value


def test_records_come_back_in_order(tmp_path):
    path = tmp_path / "log.jsonl"
    log = snap.Log(path)
    log.append("begin", version=1)
    log.append("add", trial="a")
    log.flush()
    assert [record["kind"] for record in snap.read_log(path)] == ["begin", "add"]
    log.close()


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_log_cut_anywhere_has_its_whole_lines_and_can_be_written_on(tmp_path, cut):
    path = tmp_path / "log.jsonl"
    log = snap.Log(path)
    log.append("begin", version=1)
    log.append("add", trial="a")
    log.close()
    os.truncate(path, path.stat().st_size - cut)
    whole = path.read_bytes().count(b"\n")
    assert len(list(snap.read_log(path))) == whole
    # Who read it went on without the rest, also if nothing but the end of a line was missing.
    log = snap.Log(path)
    log.append("end")
    log.close()
    assert [record["kind"] for record in snap.read_log(path)][-1] == "end"
    assert len(list(snap.read_log(path))) == whole + 1


def test_a_log_has_one_writer(tmp_path):
    log = snap.Log(tmp_path / "log.jsonl")
    with pytest.raises(RuntimeError, match=r"another process is running the study of .*log\.jsonl"):
        snap.Log(tmp_path / "log.jsonl")
    log.close()
    snap.Log(tmp_path / "log.jsonl").close()


def test_a_full_disk_is_told_with_the_way_to_go_on():
    log = snap.Log(Path("/dev/full"))
    log.append("add", trial="a")
    with pytest.raises(
        OSError, match=r"No space left on device; make room.*Tuner\.restore\('/dev'"
    ):
        log.flush()
    log.close()


def test_the_newest_log_is_the_last_study(tmp_path):
    assert snap.newest_log(tmp_path) is None
    for n, name in enumerate("ab"):
        path = tmp_path / f"{snap.LOG_PREFIX}{name}.jsonl"
        path.touch()
        os.utime(path, (n, n))
    assert snap.newest_log(tmp_path).name.endswith("b.jsonl")


def test_a_checkpoint_is_copied_whole_or_not_at_all(tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "x").write_text("1")
    files = snap.TrialFiles(str(tmp_path / "trial"))
    files.begin({})
    kept = files.keep(tune.Checkpoint(source), "checkpoint_0")
    assert (tmp_path / "trial" / "checkpoint_0" / "sub" / "x").read_text() == "1"
    assert files.keep(tune.Checkpoint(kept), "other") == kept
    (source / "sub" / "x").write_text("2")
    files.keep(tune.Checkpoint(source), "checkpoint_0")
    assert (tmp_path / "trial" / "checkpoint_0" / "sub" / "x").read_text() == "2"
    with pytest.raises(FileNotFoundError, match="not there"):
        files.keep(tune.Checkpoint(tmp_path / "none"), "checkpoint_1")
    names = sorted(path.name for path in (tmp_path / "trial").iterdir())
    assert names == ["checkpoint_0", "params.json"]


def test_results_are_lines_and_a_cut_one_does_not_count(tmp_path):
    files = snap.TrialFiles(str(tmp_path))
    files.begin({"lr": np.float64(0.5), "f": max, 3: (1,)})
    files.append({"loss": np.float32(0.5), "curve": np.arange(2)})
    assert snap.read_results(str(tmp_path)) == []
    files.write()
    with (tmp_path / "result.json").open("a") as file:
        file.write('{"loss": 0.')
    assert snap.read_results(str(tmp_path)) == [{"loss": 0.5, "curve": [0, 1]}]
    assert snap.read_results(str(tmp_path / "none")) == []
    assert json.loads((tmp_path / "params.json").read_text())["lr"] == 0.5


def test_an_attempt_goes_on_in_the_columns_of_the_one_before(tmp_path):
    for result in ({"a": 1, "b": {"c": 2}, "config": {"x": 1}}, {"b": {"c": 3}, "d": 4}):
        files = snap.TrialFiles(str(tmp_path))
        files.begin({})
        files.append(result)
        files.write()
    with (tmp_path / "progress.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["a", "b/c"], ["1", "2"], ["", "3"]]


def test_text_that_is_none_can_be_written(tmp_path):
    files = snap.TrialFiles(str(tmp_path))
    files.begin({})
    files.append({"a": "\udcff", "b": None, 3: np.float64(0.5)})
    files.write()
    assert (tmp_path / "progress.csv").read_text().splitlines() == ["a,b,3", "\\udcff,,0.5"]


@pytest.mark.parametrize("cut", [1, 3, 9])
def test_a_row_that_a_kill_cut_off_costs_that_row_only(tmp_path, cut):
    for loss in (0.25, 0.5):
        files = snap.TrialFiles(str(tmp_path))
        files.begin({})
        files.append({"loss": loss, "text": "with, comma"})
        files.append({"loss": 2 * loss, "text": "another, one"})
        files.write()
        if loss == 0.25:
            size = (tmp_path / "progress.csv").stat().st_size
            os.truncate(tmp_path / "progress.csv", size - cut)
    with (tmp_path / "progress.csv").open(newline="") as file:
        assert [row["loss"] for row in csv.DictReader(file)] == ["0.25", "0.5", "1.0"]


@pytest.mark.parametrize("cut", [2, 5, 11])
def test_an_attempt_that_was_killed_within_a_line_costs_that_line_only(tmp_path, cut):
    for loss in (0, 1):
        files = snap.TrialFiles(str(tmp_path))
        files.begin({})
        files.append({"loss": loss})
        files.append({"loss": loss + 0.5})
        files.write()
        if loss == 0:
            os.truncate(tmp_path / "result.json", (tmp_path / "result.json").stat().st_size - cut)
    assert [one["loss"] for one in snap.read_results(str(tmp_path))] == [0, 1, 1.5]


def test_metrics_of_any_kind_can_be_written():
    circle = {}
    circle["self"] = circle
    assert json.loads(snap.readable({("a", 1): 2})) == {"('a', 1)": 2}
    assert json.loads(snap.readable({"set": {1}})) == {"set": "{1}"}


def test_a_file_is_replaced_as_a_whole(tmp_path):
    snap.write_whole(tmp_path / "x", b"1")
    snap.write_whole(tmp_path / "x", b"22")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"22"
