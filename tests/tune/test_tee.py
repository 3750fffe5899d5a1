"""What trials print, in files of their directories."""

import sys
from pathlib import Path

import pytest

import heliostat
from heliostat import tune
from heliostat.tune._tee import teed

ENGINE = None


@pytest.fixture(scope="module", autouse=True)
def session():
    heliostat.init(num_cpus=2)
    yield
    heliostat.shutdown()


def talkative(config):
    print("out", config["x"])
    sys.stderr.writelines(["err ", f"{config['x']}\n"])
    if config["x"] == 2:
        raise ValueError("two")
    return {"loss": config["x"], "console": sys.stdout.isatty()}


def fit(tmp_path, how):
    run = tune.RunConfig(storage_path=str(tmp_path), verbose=0, log_to_file=how)
    grid = tune.Tuner(talkative, param_space={"x": tune.grid_search([1, 2])}, run_config=run).fit()
    return [Path(result.path) for result in grid]


def test_what_a_trial_prints_is_in_its_directory_also_when_it_fails(tmp_path):
    for number, path in enumerate(fit(tmp_path, True), 1):
        assert (path / "stdout").read_text() == f"out {number}\n"
        assert (path / "stderr").read_text() == f"err {number}\n"


@pytest.mark.parametrize(
    ("how", "files"),
    [("all.log", {"all.log"}), (("o", "e"), {"o", "e"}), (False, set())],
)
def test_files_have_the_names_that_are_given(tmp_path, how, files):
    for path in fit(tmp_path, how):
        assert {f.name for f in path.iterdir()} - {
            "params.json",
            "progress.csv",
            "result.json",
            "error.txt",
            "error.pkl",
        } == files


def test_streams_are_as_they_were_afterwards_unless_the_code_has_changed_them(
    tmp_path, monkeypatch
):
    before, other = sys.stdout, open(tmp_path / "other", "w")  # noqa: SIM115 - closed below
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    with teed(str(tmp_path), ("o", "o")):
        print("one")
        sys.stdout.flush()
        sys.stderr = other
    assert (sys.stdout, sys.stderr) == (before, other)
    assert (tmp_path / "o").read_text() == "one\n"
    other.close()
