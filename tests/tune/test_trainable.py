"""The class API: steps, results, resets, and objects that serve several trials."""

import datetime
import os
import time

import pytest

from heliostat import train, tune


class Walk(tune.Trainable):
    made = 0

    def setup(self, config):
        type(self).made += 1
        self.x = config.get("x", 0)

    def step(self):
        self.x += 1
        return {"x": self.x, "done": self.x >= self.config.get("until", 3)}

    def save_checkpoint(self, checkpoint_dir):
        return {"x": self.x}

    def load_checkpoint(self, checkpoint):
        self.x = checkpoint["x"]


class Again(Walk):
    def reset_config(self, new_config):
        self.x = new_config["x"]
        return new_config.get("can", True)

    def cleanup(self):
        with open(self.config["log"], "a") as log:
            log.write(f"{os.getpid()} {self.x}\n")

    def step(self):
        result = super().step()
        return {**result, "object": id(self), "id": self.trial_id, "pid": os.getpid()}


def test_a_step_is_counted_and_logged():
    class Logged(Walk):
        def setup(self, config):
            super().setup(config)
            self.heard = []

        def log_result(self, result):
            self.heard.append(result["x"])

    walk = Logged({})
    result = walk.train()
    assert (result["training_iteration"], result["x"], result["done"]) == (1, 1, False)
    assert walk.heard == [1]


def test_a_step_by_hand_gives_what_a_trial_s_report_carries():
    class Bare(tune.Trainable):
        def step(self):
            return {"x": 5}

    result = Bare({"n": 1}).train()
    assert (result["x"], result["config"], result["done"]) == (5, {"n": 1}, False)
    assert result["iterations_since_restore"] == 1
    assert 0 <= result["time_this_iter_s"] <= result["time_total_s"]


def test_buffered_training_ends_with_time_length_or_the_end():
    assert [result["x"] for result in Walk({}).train_buffered(1000)] == [1, 2, 3]
    assert len(Walk({}).train_buffered(1000, max_buffer_length=2)) == 2
    assert len(Walk({}).train_buffered(0)) == 1


def test_a_checkpoint_brings_back_iteration_and_time(tmp_path):
    walk = Walk({})
    walk.train()
    saved = walk.save(str(tmp_path))
    other = Walk({"x": 9})
    other.restore(saved)
    assert (other.x, other.iteration, other.training_iteration) == (1, 1, 1)
    assert other.get_state()["time_total_s"] >= walk.get_state()["time_total_s"] - 1
    other.train()
    metrics = other.get_auto_filled_metrics()
    assert metrics["training_iteration"] == 2
    assert metrics["iterations_since_restore"] == 1
    assert metrics["time_since_restore"] <= metrics["time_total_s"]


def test_what_every_report_carries_may_be_asked_for():
    now = datetime.datetime(2026, 1, 2, 3, 4, 5)
    metrics = Walk({"k": 1}).get_auto_filled_metrics(now, 0.5, debug_metrics_only=True)
    assert metrics["date"] == "2026-01-02_03-04-05"
    assert metrics["timestamp"] == int(now.timestamp())
    assert (metrics["time_this_iter_s"], metrics["config"]) == (0.5, {"k": 1})
    assert "training_iteration" not in metrics
    assert Walk({}).get_auto_filled_metrics(timestamp=7)["timestamp"] == 7


def test_facts_outside_a_trial():
    walk = Walk({"k": 1})
    assert walk.get_config() == {"k": 1}
    assert walk.get_current_ip_pid() == ("127.0.0.1", os.getpid())
    assert not walk.is_actor()
    assert walk.trial_resources is None
    assert walk.resource_help({}) == ""
    assert walk.export_model("onnx") == {}
    with pytest.raises(NotImplementedError, match="RunConfig"):
        Walk({}, storage=3)


def test_a_reset_begins_anew_if_the_class_can():
    walk = Walk({})
    assert not walk.reset({"x": 5})
    again = Again({"x": 0})
    again.train()
    assert again.reset({"x": 5})
    assert (again.iteration, again.config) == (0, {"x": 5})
    assert again.train()["x"] == 6


def test_one_object_serves_several_trials_when_it_can_be_reset(run_study, tmp_path):
    log = tmp_path / "log"
    grid = run_study(
        Again,
        {"x": tune.grid_search([0, 1, 2]), "log": str(log)},
        reuse_actors=True,
        max_concurrent_trials=1,
    )
    assert len({result.metrics["object"] for result in grid}) == 1
    assert len({result.metrics["id"] for result in grid}) == 3
    assert [result.metrics["training_iteration"] for result in grid] == [3, 2, 1]
    # It is cleaned up once, at the end of the study.
    assert log.read_text().split() == [str(grid[0].metrics["pid"]), "3"]


def test_an_object_that_cannot_be_reset_is_cleaned_up_and_made_anew(run_study, tmp_path):
    log = tmp_path / "log"
    space = {"x": tune.grid_search([0, 1]), "log": str(log), "can": False}
    run_study(Again, space, reuse_actors=True, max_concurrent_trials=1)
    assert len(log.read_text().splitlines()) == 2


def test_an_object_whose_process_makes_room_for_another_size_is_cleaned_up_first(
    run_study, tmp_path
):
    log = tmp_path / "log"
    run_study(
        tune.with_resources(Again, lambda config: {"cpu": config["cpus"]}),
        {"x": 0, "cpus": tune.grid_search([1, 2]), "log": str(log)},
        reuse_actors=True,
        max_concurrent_trials=1,
    )
    assert len(log.read_text().splitlines()) == 2


def test_without_reuse_every_trial_has_its_own(run_study, tmp_path):
    log = tmp_path / "log"
    run_study(Again, {"x": tune.grid_search([0, 1]), "log": str(log)})
    assert len(log.read_text().splitlines()) == 2


def test_resources_may_be_a_scaling_config_or_a_function(run_study):
    seen = tune.with_resources(Walk, lambda config: {"cpu": config["n"]})
    assert seen.default_resource_request({"n": 2}).required_resources == {"CPU": 2}
    scaled = tune.with_resources(lambda config: {"x": 1}, train.ScalingConfig(num_workers=2))
    assert scaled.resources.bundles == [{}, {"CPU": 2}]
    with pytest.raises(TypeError, match="must be a dict"):
        tune.with_resources(lambda config: 1, 3)


def test_time_counts_on_over_attempts(run_study):
    class Slow(Walk):
        def step(self):
            until = time.monotonic() + 0.01
            while time.monotonic() < until:
                pass
            return super().step()

    [result] = run_study(Slow, {"until": 3})
    assert result.metrics["time_total_s"] >= 0.03
