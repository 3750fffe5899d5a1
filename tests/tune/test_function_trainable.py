"""A function as a Trainable class: by hand step by step, in a study as it is."""

import threading
from pathlib import Path

import pytest

from heliostat import tune
from heliostat.tune.trainable import FunctionTrainable, wrap_function


def walk(config):
    start = 0
    if (last := tune.get_checkpoint()) is not None:
        start = int(Path(last.path, "at").read_text()) + 1
    for at in range(start, config["steps"]):
        folder = Path(config["scratch"], f"{at}")
        folder.mkdir(parents=True, exist_ok=True)
        Path(folder, "at").write_text(str(at))
        tune.report({"at": at}, checkpoint=tune.Checkpoint(folder))


def test_a_step_goes_from_report_to_report_and_the_last_says_that_it_is_over(tmp_path):
    made = wrap_function(walk)({"steps": 2, "scratch": str(tmp_path)})
    assert isinstance(made, FunctionTrainable)
    assert type(made).__name__ == "walk"
    results = [made.train() for _ in range(3)]
    assert [(one["at"], one["done"]) for one in results] == [(0, False), (1, False), (1, True)]
    made.stop()
    assert not [one for one in threading.enumerate() if one.name == made.trial_name]


def test_it_goes_on_from_what_it_saved_and_begins_anew_with_another_config(tmp_path):
    config = {"steps": 5, "scratch": str(tmp_path / "scratch")}
    first = wrap_function(walk, name="Walk")(config)
    with pytest.raises(ValueError, match="Walk has saved nothing yet"):
        first.save(str(tmp_path / "nothing"))
    assert [first.train()["at"] for _ in range(3)] == [0, 1, 2]
    kept = first.save(str(tmp_path / "kept"))
    first.stop()
    again = wrap_function(walk)(config)
    again.restore(kept)
    result = again.train()
    assert (result["at"], result["training_iteration"]) == (3, 4)
    assert again.reset({**config, "steps": 1})
    assert [again.train()["at"], again.train()["done"]] == [0, True]
    again.stop()


def test_an_error_comes_out_of_the_step():
    def fails(config):
        tune.report({"x": 1})
        raise KeyError("mine")

    made = wrap_function(fails)({})
    assert made.train()["x"] == 1
    with pytest.raises(KeyError, match="mine"):
        made.train()
    made.stop()


def test_a_study_runs_the_function_itself_with_its_resources_and_parameters(run_study):
    def sizes(config, data):
        return {"size": len(data) * config["x"], "cpus": tune.get_context().get_trial_resources()}

    shared = tune.with_parameters(wrap_function(sizes), data=[0] * 10)
    resourced = tune.with_resources(shared, {"cpu": 2})
    results = run_study(resourced, {"x": tune.grid_search([1, 2])})
    assert sorted(one.metrics["size"] for one in results) == [10, 20]
    assert results[0].metrics["cpus"].required_resources == {"CPU": 2}
    assert Path(results[0].path).name.startswith("sizes_")


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="takes a function of the config, got 3"):
        wrap_function(3)
    with pytest.raises(TypeError, match="wrap_function"):
        FunctionTrainable({})
