"""What can be tuned, what it asks for, and how a Trainable class saves itself."""

from pathlib import Path

import pytest

from heliostat import train, tune
from heliostat.tune._resources import as_request
from heliostat.tune._runnable import as_runnable


def trial(config):
    return {"x": config["x"]}


class Count(tune.Trainable):
    def setup(self, config):
        self.n = config.get("start", 0)

    def step(self):
        self.n += 1
        return {"n": self.n, "done": self.n >= 4}

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "n").write_text(str(self.n))

    def load_checkpoint(self, checkpoint):
        self.n = int(Path(checkpoint, "n").read_text())


def test_one_cpu_is_what_a_trial_asks_for():
    assert as_runnable(trial, tune.RunConfig()).request({}).required_resources == {"CPU": 1}
    assert as_runnable(Count, tune.RunConfig()).request({}).required_resources == {"CPU": 1}


def test_resources_may_be_given_in_several_forms():
    bundles = tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 2, "GPU": 1}])
    for given, total in [
        ({"cpu": 2, "gpu": 0.5, "disk": 3}, {"CPU": 2, "GPU": 0.5, "disk": 3}),
        (bundles, {"CPU": 3, "GPU": 1}),
        (lambda config: {"cpu": config["n"]}, {"CPU": 7}),
        ({"cpu": 0}, {}),
    ]:
        for kind in (trial, Count):
            runnable = as_runnable(tune.with_resources(kind, given), tune.RunConfig())
            assert runnable.request({"n": 7}).required_resources == total
            assert runnable.name == kind.__name__


def test_what_all_trials_ask_for_is_known_unless_it_depends_on_the_config():
    def common(trainable, space=()):
        found = as_runnable(trainable, tune.RunConfig()).common_request(dict(space))
        return found and found.required_resources

    trainer = train.DataParallelTrainer(print, scaling_config=train.ScalingConfig(num_workers=3))
    assert common(trial) == common(Count) == {"CPU": 1}
    assert common(tune.with_resources(trial, {"gpu": 1})) == {"GPU": 1}
    assert common(tune.with_resources(trial, lambda config: {})) is None
    assert common(tune.with_resources(Count, {"gpu": 1})) is None
    assert common(trainer) == {"CPU": 3}
    assert common(trainer, {"scaling_config": tune.choice([1])}) is None


def test_the_number_of_a_trainers_ranks_may_be_tuned():
    trainer = train.DataParallelTrainer(print)
    config = {"scaling_config": train.ScalingConfig(num_workers=2)}
    request = as_runnable(trainer, tune.RunConfig()).request(config)
    assert (request.bundles[0], request.required_resources) == ({}, {"CPU": 2})


def test_resources_that_are_to_be_chosen_are_refused():
    with pytest.raises(ValueError, match=r"needs numbers, got ScalingConfig\(.*lambda config"):
        tune.with_resources(trial, train.ScalingConfig(num_workers=tune.choice([1, 2])))


@pytest.mark.parametrize(
    "place", [{"accelerator_type": "A100"}, {"label_selector": {"zone": "eu"}}]
)
def test_a_place_for_what_a_trial_starts_is_refused(place):
    with pytest.raises(ValueError, match=r"ScalingConfig\(.*=.*options\("):
        tune.with_resources(trial, train.ScalingConfig(num_workers=2, **place))


def test_how_much_train_says_is_the_trainers_or_else_the_studys_and_no_functions():
    said = tune.RunConfig(logging_config=train.LoggingConfig("ERROR"))
    own = train.RunConfig(logging_config=train.LoggingConfig("DEBUG"))
    trainer = train.DataParallelTrainer(print)
    assert as_runnable(trainer, said).run_config.logging_config.log_level == "ERROR"
    kept = as_runnable(trainer.replace(run_config=own), said)
    assert kept.run_config.logging_config.log_level == "DEBUG"
    for kind in (trial, Count):
        with pytest.raises(ValueError, match=r"logging_config=.* is for trainers"):
            as_runnable(kind, said)


def test_a_class_may_ask_for_itself():
    class Big(Count):
        @classmethod
        def default_resource_request(cls, config):
            return tune.PlacementGroupFactory([{"CPU": config["n"]}])

    assert as_runnable(Big, tune.RunConfig()).request({"n": 2}).required_resources == {"CPU": 2}


@pytest.mark.parametrize(
    ("resources", "error", "says"),
    [
        ({"cpu": -1}, ValueError, r"resources\['cpu'\] must be a number >= 0, got -1"),
        ({"cpu": "1"}, ValueError, "got '1'"),
        (3, TypeError, "got 3"),
    ],
)
def test_resources_that_make_no_sense_are_refused(resources, error, says):
    with pytest.raises(error, match=says):
        tune.with_resources(trial, resources)


def test_bundles_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="at least one bundle"):
        tune.PlacementGroupFactory([])
    with pytest.raises(ValueError, match="STRICT_SPREAD"):
        tune.PlacementGroupFactory([{}], strategy="STRICT_SPREAD")
    with pytest.raises(TypeError, match="resources must be"):
        as_request(None)


def test_only_functions_and_trainable_classes_can_be_wrapped():
    for wrap in (lambda t: tune.with_resources(t, {}), lambda t: tune.with_parameters(t, a=1)):
        with pytest.raises(TypeError, match="a function or a Trainable class, got 3"):
            wrap(3)


def test_parameters_are_given_to_functions_and_classes(run_study):
    def sized(config, data, k):
        return {"size": len(data) * k}

    class Sized(tune.Trainable):
        def setup(self, config, data):
            self.size = len(data)

        def step(self):
            return {"size": self.size, "done": True}

    wrapped = tune.with_resources(tune.with_parameters(sized, data=[1, 2], k=3), {"cpu": 2})
    assert run_study(wrapped)[0].metrics["size"] == 6
    assert run_study(tune.with_parameters(Sized, data=[1, 2]))[0].metrics["size"] == 2


def test_a_class_is_stepped_until_it_is_done_and_cleaned_up(run_study):
    cleaned = []

    class Cleaned(Count):
        def cleanup(self):
            cleaned.append((self.trial_id, self.trial_name, self.logdir))

    [result] = run_study(Cleaned)
    assert [report["n"] for report in result.history] == [1, 2, 3, 4]
    name = f"Cleaned_{result.metrics['trial_id']}"
    assert cleaned == [(result.metrics["trial_id"], name, result.path)]


def test_a_class_is_saved_as_often_as_asked_and_at_its_end(run_study):
    keep = tune.CheckpointConfig(checkpoint_frequency=3, checkpoint_at_end=True)
    [result] = run_study(Count, run={"checkpoint_config": keep})
    assert [metrics["n"] for _, metrics in result.best_checkpoints] == [3, 4]
    assert Path(result.checkpoint.path, "n").read_text() == "4"


def test_a_class_that_is_told_to_stop_saves_itself_at_its_end(run_study):
    keep = tune.CheckpointConfig(checkpoint_at_end=True)
    [result] = run_study(Count, run={"checkpoint_config": keep, "stop": {"n": 2}})
    assert Path(result.checkpoint.path, "n").read_text() == "2"


def test_what_a_class_could_not_save_is_left_nowhere(run_study, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))

    class Full(Count):
        def save_checkpoint(self, checkpoint_dir):
            super().save_checkpoint(checkpoint_dir)
            if self.n == 3:
                raise OSError("full")
            assert not list((tmp_path / "temporary").iterdir())  # a kill now would leave it

    grid = run_study(Full, run={"checkpoint_config": tune.CheckpointConfig(checkpoint_frequency=1)})
    assert "full" in str(grid.errors[0])
    assert len(grid[0].best_checkpoints) == 2
    assert list((tmp_path / "temporary").iterdir()) == []
    assert list(Path(grid[0].path).glob("*stage*")) == []


def test_a_class_may_ask_to_be_saved(run_study):
    class Asks(Count):
        def step(self):
            return {**super().step(), "should_checkpoint": self.n == 2}

    keep = tune.CheckpointConfig(checkpoint_at_end=False)
    [result] = run_study(Asks, run={"checkpoint_config": keep})
    assert [metrics["n"] for _, metrics in result.best_checkpoints] == [2]


def test_a_class_that_can_be_saved_is_at_its_end_unless_asked_not_to(run_study, tmp_path):
    class Bare(tune.Trainable):
        def step(self):
            return {"n": 4, "done": True}

    def saved(trainable, **keep):
        [result] = run_study(trainable, run={"checkpoint_config": tune.CheckpointConfig(**keep)})
        return [metrics["n"] for _, metrics in result.best_checkpoints]

    assert saved(Count) == [4]
    assert saved(Count, checkpoint_frequency=3) == [3, 4]
    assert saved(Count, checkpoint_at_end=False) == []
    assert saved(Bare) == []
    # With Ray it is so for Tuner only.
    older = tune.run(Count, storage_path=str(tmp_path), verbose=0)
    assert older.get_last_checkpoint() is None


def test_a_failed_class_trial_goes_on_from_its_checkpoint(run_study, tmp_path):
    class Flaky(Count):
        def step(self):
            if self.n == 2 and not (tmp_path / "failed").exists():
                (tmp_path / "failed").touch()
                raise OSError("flaky")
            return super().step()

    run = {
        "checkpoint_config": tune.CheckpointConfig(checkpoint_frequency=1),
        "failure_config": tune.FailureConfig(max_failures=1),
    }
    [result] = run_study(Flaky, run=run)
    assert [report["n"] for report in result.history] == [1, 2, 3, 4]


def test_state_may_be_a_dict(tmp_path):
    class Dict(Count):
        def save_checkpoint(self, checkpoint_dir):
            return {"n": self.n}

        def load_checkpoint(self, checkpoint):
            self.n = checkpoint["n"]

    first, second = Dict({"start": 1}), Dict()
    first.train()
    second.restore(first.save(str(tmp_path)))
    assert (second.n, second.iteration, second.training_iteration) == (2, 1, 1)
    assert (second.trial_id, second.trial_name, second.logdir) == ("default", "default", None)


def test_what_a_class_lacks_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    class Bare(tune.Trainable):
        pass

    for call in ("step", "save", "train"):
        with pytest.raises(NotImplementedError, match="Bare must override"):
            getattr(Bare(), call)()


def test_steps_and_functions_must_speak_in_metrics(run_study):
    class Bad(tune.Trainable):
        def step(self):
            return 3

    assert "must return a dict, got 3" in str(run_study(Bad).errors[0])
    assert "got 'x'" in str(run_study(lambda config: "x").errors[0])
    assert "must be strings" in str(run_study(lambda config: {1: 2}).errors[0])
