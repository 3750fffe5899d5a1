"""Warm starts that fit, and a machine that is looked at."""

import os

import pytest

from heliostat.testing.clock import until
from heliostat.tune import utils


@pytest.mark.parametrize(
    ("points", "rewards", "kind", "says"),
    [
        ({"a": 1}, None, TypeError, "points_to_evaluate must be a list"),
        ([5], None, TypeError, "must have dicts or lists, got 5"),
        ([{"a": 1}], None, ValueError, "has not a value for each of"),
        ([[1, 2]], 0.5, TypeError, "evaluated_rewards must be a list"),
        ([[1, 2]], [1, 2], ValueError, "2 evaluated_rewards were given for 1"),
    ],
)
def test_a_warm_start_that_fits_nothing_is_refused(points, rewards, kind, says):
    with pytest.raises(kind, match=says):
        utils.validate_warmstart(["a", "b"], points, rewards)


def test_a_warm_start_that_fits_is_taken():
    utils.validate_warmstart(["a", "b"], [[1, 2], {"a": 1, "b": 2}], [0.1, 0.2])
    utils.validate_warmstart(["a", "b"], [{"a": 1}], None, validate_point_name_lengths=False)
    utils.validate_warmstart([], None, None)


def test_a_monitor_tells_means_since_it_was_asked_last(tmp_path, monkeypatch):
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 50, 1000, 4000\necho 0, 0, 4000\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monitor = utils.UtilMonitor(start=False, delay=0.01)
    assert monitor.get_data() == {}
    monitor.start()
    until(lambda: len(monitor._seen.get("cpu_util_percent", ())) > 1, "it has looked twice", 20)
    found = monitor.get_data()["perf"]
    monitor.stop()
    monitor.join(20)
    assert 0 <= found["cpu_util_percent"] <= 100
    assert 0 < found["ram_util_percent"] < 100
    gpus = {name: value for name, value in found.items() if "gpu" in name or "vram" in name}
    assert gpus == {
        "gpu_util_percent0": 50, "vram_util_percent0": 25, "gpu_util_percent1": 0, "vram_util_percent1": 0,
    }  # fmt: skip


@pytest.mark.parametrize("says", ["echo '[N/A], 1000, 4000'", "echo no devices; exit 9"])
def test_a_gpu_that_does_not_tell_leaves_the_monitor_looking(tmp_path, monkeypatch, says):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\n{says}\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monitor = utils.UtilMonitor(delay=0.01)
    until(lambda: len(monitor._seen.get("ram_util_percent", ())) > 1, "it has looked twice", 20)
    assert "gpu_util_percent0" not in monitor.get_data()["perf"]
    monitor.stop()
    monitor.join(20)


def test_a_monitor_that_was_stopped_tells_nothing():
    monitor = utils.UtilMonitor(delay=0.01)
    until(lambda: "ram_util_percent" in monitor._seen, "it has looked", 20)
    monitor.stop()
    assert monitor.get_data() == {}
    monitor.join(20)
