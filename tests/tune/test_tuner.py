"""Tuner.fit from end to end on the inline engine, and what Tuner refuses."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from heliostat import train, tune


def parabola(config):
    tune.report({"loss": (config["x"] - 3) ** 2})


def test_the_best_of_a_grid_is_found(run_study):
    grid = run_study(parabola, {"x": tune.grid_search([1, 3, 5])}, metric="loss", mode="min")
    assert len(grid) == grid.num_terminated == 3
    assert grid.get_best_result().config == {"x": 3}
    assert grid.get_best_result().metrics["loss"] == 0


def test_a_returned_dict_is_the_last_report(run_study):
    def trial(config):
        tune.report({"loss": 5})
        return {"loss": 4}

    [result] = run_study(trial)
    assert [report["loss"] for report in result.history] == [5, 4]
    assert (result.metrics["done"], result.metrics["training_iteration"]) == (True, 2)


def test_a_trial_may_return_a_number_or_yield_reports(run_study):
    def count(config):
        yield {"n": 1}
        yield {"n": 2}

    assert run_study(lambda config: 0.5)[0].metrics["_metric"] == 0.5
    assert [report["n"] for report in run_study(count)[0].history] == [1, 2]


def test_train_report_works_inside_a_function_trial(run_study):
    def trial(config):
        assert train.get_checkpoint() is None
        train.report({"loss": 1.5})

    assert run_study(trial)[0].metrics["loss"] == 1.5


def test_the_lesson_runs_with_its_searcher_and_scheduler(run_study):
    grid = run_study(
        tune.with_resources(parabola, {"cpu": 1}),
        {"x": tune.randint(0, 20), "k": 1},
        metric="loss",
        mode="min",
        num_samples=5,
        search_alg=tune.search.BasicVariantGenerator(),
        scheduler=tune.schedulers.FIFOScheduler(),
    )
    assert len(grid) == 5
    assert grid.get_best_result().config["k"] == 1


def test_numpys_seed_makes_a_study_repeatable(run_study):
    def configs():
        np.random.seed(3)
        return [r.config for r in run_study(parabola, {"x": tune.uniform(0, 1)}, num_samples=4)]

    assert configs() == configs()


def test_each_trial_has_its_files(run_study):
    grid = run_study(parabola, {"x": tune.grid_search([1, 2])}, run={"name": "mine"})
    assert Path(grid.experiment_path).name == "mine"
    for result, x in zip(grid, (1, 2), strict=True):
        path = Path(result.path)
        assert path.parent == Path(grid.experiment_path)
        assert path.name.endswith(f"x={x}")
        assert json.loads((path / "params.json").read_text()) == {"x": x}
        [line] = (path / "result.json").read_text().splitlines()
        assert json.loads(line)["loss"] == (x - 3) ** 2


def test_a_failed_trial_has_its_traceback_and_the_others_go_on(run_study):
    def fail_on_two(config):
        if config["x"] == 2:
            raise ValueError("two is too much")
        return {"loss": config["x"]}

    grid = run_study(fail_on_two, {"x": tune.grid_search([1, 2, 3])})
    assert (grid.num_errors, grid.num_terminated) == (1, 2)
    [error] = grid.errors
    assert isinstance(error, ValueError)
    assert "ValueError in fail_on_two()" in str(error)
    assert "two is too much" in Path(grid[1].path, "error.txt").read_text()
    assert "two is too much" in str(pickle.loads(Path(grid[1].path, "error.pkl").read_bytes()))
    assert grid[1].error is error
    assert grid[0].error is None


def test_sys_exit_in_a_trial_is_a_failure_that_says_so(run_study):
    def leave(config):
        raise SystemExit(3)

    [error] = run_study(leave).errors
    assert "SystemExit(3)" in str(error)


def test_fail_fast_forgives_those_that_have_ended_already(run_study):
    def fail_on_one(config):
        if config["x"] == 1:
            raise ValueError("no")
        return {"x": config["x"]}

    # Both have ended on the inline engine when the study hears of the first.
    run = {"failure_config": tune.FailureConfig(fail_fast=True)}
    grid = run_study(fail_on_one, {"x": tune.grid_search([1, 2])}, run=run)
    assert (grid.num_errors, grid.num_terminated) == (1, 1)
    assert grid[1].metrics["x"] == 2


def test_fail_fast_raise_raises_the_trials_error(run_study):
    def fail(config):
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        run_study(fail, run={"failure_config": tune.FailureConfig(fail_fast="raise")})


def test_a_failed_trial_goes_on_from_its_checkpoint(run_study, tmp_path):
    def trial(config):
        checkpoint = tune.get_checkpoint()
        begin = int(Path(checkpoint.path, "step").read_text()) + 1 if checkpoint else 0
        for step in range(begin, 4):
            saved = tmp_path / "saved"
            saved.mkdir(exist_ok=True)
            (saved / "step").write_text(str(step))
            tune.report({"step": step}, checkpoint=tune.Checkpoint.from_directory(saved))
            if step == 1 and begin == 0:
                raise OSError("flaky")

    [result] = run_study(trial, run={"failure_config": tune.FailureConfig(max_failures=1)})
    assert result.error is None
    assert [report["step"] for report in result.history] == [0, 1, 2, 3]
    assert [r["training_iteration"] for r in result.history] == [1, 2, 3, 4]
    assert [r["iterations_since_restore"] for r in result.history] == [1, 2, 1, 2]
    assert Path(result.checkpoint.path, "step").read_text() == "3"
    assert Path(result.checkpoint.path).parent == Path(result.path)


def test_only_so_many_checkpoints_are_kept(run_study, tmp_path):
    def trial(config):
        for step in range(4):
            saved = tmp_path / "saved"
            saved.mkdir(exist_ok=True)
            tune.report({"loss": step}, checkpoint=tune.Checkpoint(saved))

    keep = tune.CheckpointConfig(
        num_to_keep=2, checkpoint_score_attribute="loss", checkpoint_score_order="min"
    )
    [result] = run_study(trial, run={"checkpoint_config": keep})
    on_disk = sorted(path.name for path in Path(result.path).glob("checkpoint_*"))
    assert on_disk == ["checkpoint_000000", "checkpoint_000003"]
    assert result.get_best_checkpoint("loss", "min").path.endswith("checkpoint_000000")


def test_a_stop_rule_ends_a_trial_inside_its_report(run_study):
    cleaned = []

    def endless(config):
        try:
            step = 0
            while True:
                step += 1
                tune.report({"step": step})
        finally:
            cleaned.append(step)

    [result] = run_study(endless, run={"stop": {"training_iteration": 3}})
    assert (result.metrics["step"], result.error) == (3, None)
    assert cleaned == [3]


def test_a_stop_rule_may_be_a_function(run_study):
    def endless(config):
        while True:
            tune.report({"loss": 1})

    [result] = run_study(endless, run={"stop": lambda trial_id, r: r["training_iteration"] >= 2})
    assert result.metrics["training_iteration"] == 2


def test_a_scheduler_may_pause_a_trial_which_then_goes_on(run_study, tmp_path):
    class PauseOnce(tune.schedulers.TrialScheduler):
        paused = False

        def on_trial_result(self, tune_controller, trial, result):
            if self.paused:
                return self.CONTINUE
            self.paused = True
            return self.PAUSE

    class Steps(tune.Trainable):
        def setup(self, config):
            self.n = 0

        def step(self):
            self.n += 1
            return {"n": self.n, "done": self.n == 3}

        def save_checkpoint(self, checkpoint_dir):
            return {"n": self.n}

        def load_checkpoint(self, checkpoint):
            self.n = checkpoint["n"]

    [result] = run_study(Steps, scheduler=PauseOnce())
    assert [report["n"] for report in result.history] == [1, 2, 3]
    assert result.checkpoint is not None


def test_a_metric_that_was_never_reported_raises_and_names_the_others(run_study):
    with pytest.raises(tune.TuneError, match=r"'rmse'.*'loss'"):
        run_study(parabola, {"x": 1}, metric="rmse", mode="min")


def test_a_trial_that_can_never_run_raises_before_anything_is_written(run_study, tmp_path):
    with pytest.raises(tune.TuneError, match=r"trial of parabola.*GPU: 1 asked, 0 there"):
        run_study(tune.with_resources(parabola, {"gpu": 1}), {"x": tune.uniform(0, 1)})
    assert list(tmp_path.iterdir()) == []


def test_resources_may_depend_on_the_config(run_study):
    def trial(config):
        return tune.get_context().get_trial_resources().required_resources

    sized = tune.with_resources(trial, lambda config: {"cpu": config["n"]})
    grid = run_study(sized, {"n": tune.grid_search([1, 2])})
    assert [result.metrics["CPU"] for result in grid] == [1, 2]


def test_a_trial_knows_where_it_is(run_study):
    def trial(config):
        context = tune.get_context()
        return {
            "id": context.get_trial_id(),
            "name": context.get_trial_name(),
            "dir": context.get_trial_dir(),
            "study": context.get_experiment_name(),
            "ranks": (context.get_world_size(), context.get_world_rank(), context.get_local_rank()),
        }

    grid = run_study(trial, run={"name": "study"})
    said = grid[0].metrics
    assert said["id"] == said["trial_id"]
    assert said["name"] == f"trial_{said['id']}"
    assert said["dir"] == grid[0].path
    assert (said["study"], said["ranks"]) == ("study", (1, 0, 0))


def test_users_may_name_trials_and_their_directories(run_study):
    grid = run_study(
        parabola,
        {"x": tune.grid_search([1, 2])},
        trial_name_creator=lambda trial: f"try-{trial.config['x']}",
        trial_dirname_creator=lambda trial: f"{trial}.d",
    )
    assert [Path(result.path).name for result in grid] == ["try-1.d", "try-2.d"]


@pytest.mark.parametrize("name", ["same", "../x", "a/b", "é" * 128, "x" * 300, "nul\0", ""])
def test_directories_that_lead_astray_or_are_given_twice_are_refused(run_study, name):
    with pytest.raises(ValueError, match="trial_dirname_creator"):
        run_study(
            parabola, {"x": tune.grid_search([1, 2])}, trial_dirname_creator=lambda trial: name
        )


def test_a_long_name_of_a_trial_in_any_script_is_cut_where_it_becomes_a_directory(run_study):
    [result] = run_study(parabola, {"x": 1}, trial_name_creator=lambda trial: "模/型" * 90)
    assert result.error is None
    assert 170 < len(Path(result.path).name.encode()) <= 180


def test_storage_that_cannot_be_written_to_is_named(run_study, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"storage_path=.*file. cannot be written to"):
        run_study(parabola, {"x": 1}, run={"storage_path": str(tmp_path / "file")})


def test_time_is_up_for_trials_between_reports(run_study):
    def endless(config):
        while True:
            tune.report({"loss": 1})

    class Watch(tune.Callback):
        pass

    # Lockstep, since the inline engine cannot end a trial in the middle of its work.
    [result] = run_study(endless, run={"stop": {"loss": 2}}, time_budget_s=0.05)
    assert result.metrics["loss"] == 1


def test_callbacks_hear_what_happens_in_order(run_study, tmp_path):
    heard = []

    class Listen(tune.Callback):
        def setup(self, stop=None, num_samples=None, total_num_samples=None, **info):
            heard.append(("setup", num_samples, total_num_samples))

        def on_trial_start(self, iteration, trials, trial, **info):
            heard.append("start")

        def on_trial_result(self, iteration, trials, trial, result, **info):
            heard.append(("result", result["x"]))

        def on_checkpoint(self, iteration, trials, trial, checkpoint, **info):
            heard.append(("checkpoint", Path(checkpoint.path).name))

        def on_trial_complete(self, iteration, trials, trial, **info):
            heard.append("complete")

        def on_trial_error(self, iteration, trials, trial, **info):
            heard.append("error")

        def on_experiment_end(self, trials, **info):
            heard.append(("end", len(trials)))

    def trial(config):
        tune.report({"x": config["x"]}, checkpoint=tune.Checkpoint(tmp_path / "empty"))
        if config["x"] == 2:
            raise ValueError("no")

    (tmp_path / "empty").mkdir()
    space = {"x": tune.grid_search([1, 2])}
    run_study(trial, space, run={"callbacks": [Listen()]}, max_concurrent_trials=1)
    saved = ("checkpoint", "checkpoint_000000")
    assert heard == [
        ("setup", 1, 2),
        "start", ("result", 1), saved, "complete", "start", ("result", 2), saved, "error",
        ("end", 2),
    ]  # fmt: skip


def test_a_trainers_arguments_are_tuned_and_its_reports_are_the_trials(run_study, tmp_path):
    def loop(config):
        for step in range(2):
            if train.get_context().get_world_rank() == 0:
                saved = tmp_path / "saved"
                saved.mkdir(exist_ok=True)
                checkpoint = train.Checkpoint(saved)
            else:
                checkpoint = None
            train.report({"loss": config["lr"] * (2 - step)}, checkpoint=checkpoint)

    trainer = train.DataParallelTrainer(
        loop,
        train_loop_config={"lr": 1, "kept": True},
        scaling_config=train.ScalingConfig(num_workers=2),
    )
    space = {"train_loop_config": {"lr": tune.grid_search([2, 1])}}
    grid = run_study(trainer, space, metric="loss", mode="min")
    best = grid.get_best_result()
    assert best.config == {"train_loop_config": {"lr": 1}}
    assert [report["loss"] for report in best.history] == [2, 1]
    assert Path(best.checkpoint.path).is_dir()
    assert Path(best.checkpoint.path).is_relative_to(best.path)


@pytest.mark.parametrize(
    "scaling",
    [
        lambda workers: train.ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 0.5}),
        lambda workers: {"num_workers": workers},
    ],
    ids=["config", "dict"],
)
def test_how_many_ranks_a_trainer_has_may_be_tuned(run_study, scaling):
    trainer = train.DataParallelTrainer(
        lambda: train.report({"ranks": train.get_context().get_world_size()}),
        scaling_config=train.ScalingConfig(resources_per_worker={"CPU": 0.25}),
    )
    grid = run_study(trainer, {"scaling_config": scaling(tune.grid_search([1, 2]))})
    assert [result.metrics["ranks"] for result in grid] == [1, 2]
    assert [result.config["scaling_config"]["num_workers"] for result in grid] == [1, 2]


def test_how_many_ranks_are_asked_for_is_checked_when_it_is_known(run_study):
    space = {"scaling_config": train.ScalingConfig(num_workers=tune.grid_search(["two"]))}
    with pytest.raises(TypeError, match="num_workers must be a whole number, got 'two'"):
        run_study(train.DataParallelTrainer(print), space)


def test_a_failed_trainer_goes_on_from_its_own_checkpoint(run_study, tmp_path):
    def loop():
        checkpoint = train.get_checkpoint()
        begin = int(Path(checkpoint.path, "step").read_text()) + 1 if checkpoint else 0
        for step in range(begin, 4):
            saved = tmp_path / "saved"
            saved.mkdir(exist_ok=True)
            (saved / "step").write_text(str(step))
            train.report({"step": step}, checkpoint=train.Checkpoint(saved))
            if step == 1 and begin == 0:
                raise OSError("flaky")

    trainer = train.DataParallelTrainer(loop)
    [result] = run_study(trainer, run={"failure_config": tune.FailureConfig(max_failures=1)})
    assert result.error is None
    assert [report["step"] for report in result.history] == [0, 1, 2, 3]


@pytest.mark.parametrize("fails", [True, False])
def test_a_trainer_whose_trial_is_restarted_begins_anew(run_study, tmp_path, fails):
    def loop():
        first = train.get_checkpoint() is None
        saved = tmp_path / "saved"
        saved.mkdir(exist_ok=True)
        train.report({"first": first}, checkpoint=train.Checkpoint(saved))
        if fails:
            raise OSError("broken")

    trainer = train.DataParallelTrainer(loop)
    [result] = run_study(trainer, run={"name": "study"})
    anew = tune.ResumeConfig.ResumeType.RESTART
    analysis = tune.run(
        trainer,
        name="study",
        storage_path=str(tmp_path),
        verbose=0,
        raise_on_failed_trial=False,
        resume_config=tune.ResumeConfig(finished=anew, errored=anew),
    )
    assert [r["first"] for r in analysis.results_df.to_dict("records")] == [True]
    assert len(result.history) == 1
    assert len(tune.Result.from_path(result.path).history) == 2


def test_a_trainer_that_needs_more_than_there_is_is_refused(run_study):
    trainer = train.DataParallelTrainer(
        lambda: None, scaling_config=train.ScalingConfig(num_workers=3)
    )
    with pytest.raises(tune.TuneError, match=r"CPU: 3 asked, 2 there"):
        run_study(trainer)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"trainable": 3}, TypeError, "got 3"),
        ({"trainable": None}, TypeError, "got None"),
        ({"trainable": lambda: 1}, TypeError, "must take the config"),
        (
            {"trainable": lambda config, data: 1},
            TypeError,
            r"missing a required argument: 'data'\); with_parameters\(\) gives those",
        ),
        ({"trainable": parabola, "param_space": [1]}, TypeError, "param_space must be a dict"),
        ({"trainable": parabola, "tune_config": {}}, TypeError, "tune_config must be a TuneConfig"),
        ({"trainable": parabola, "run_config": {}}, TypeError, "run_config must be a RunConfig"),
    ],
)
def test_a_tuner_refuses_what_it_cannot_use(arguments, error, says):
    with pytest.raises(error, match=says):
        tune.Tuner(**arguments)


@pytest.mark.parametrize(
    ("run", "error", "says"),
    [
        ({"stop": 3}, TypeError, "stop must be"),
        ({"callbacks": [3]}, TypeError, r"tune\.Callback objects, got 3"),
        ({"progress_reporter": 3}, TypeError, "must be a tune.ProgressReporter"),
        (
            {"checkpoint_config": tune.CheckpointConfig(checkpoint_at_end=True)},
            ValueError,
            "for Trainable classes",
        ),
    ],
)
def test_a_tuner_refuses_settings_it_cannot_follow(run, error, says):
    with pytest.raises(error, match=says):
        tune.Tuner(parabola, run_config=tune.RunConfig(**run))


def test_a_tuner_may_be_fitted_again(tmp_path):
    tuner = tune.Tuner(
        parabola,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=3,
            search_alg=tune.search.BasicVariantGenerator(random_state=1),
            scheduler=tune.schedulers.FIFOScheduler(),
        ),
        run_config=tune.RunConfig(storage_path=f"file://{tmp_path}", verbose=0),
    )
    first, second = tuner.fit(), tuner.fit()
    assert [result.config for result in first] == [result.config for result in second]


def test_a_searcher_knows_afterwards_what_it_has_learned_and_may_be_saved(run_study, tmp_path):
    class Told(tune.search.Searcher):
        def __init__(self):
            super().__init__("loss", "min")
            self.losses = []

        def suggest(self, trial_id):
            return {"x": 1}

        def on_trial_complete(self, trial_id, result=None, error=False):
            self.losses.append(result["loss"])

    mine, later = Told(), Told()
    run_study(parabola, num_samples=3, search_alg=mine)
    assert mine.losses == [4, 4, 4]
    mine.save(str(tmp_path / "searcher"))
    later.restore(str(tmp_path / "searcher"))
    assert later.losses == mine.losses


def test_a_searcher_goes_on_with_its_space_and_is_refused_another(run_study):
    optuna_search = pytest.importorskip("heliostat.tune.search.optuna").OptunaSearch
    mine = optuna_search(metric="loss", mode="min", seed=1)
    for trials in (3, 6):
        run_study(parabola, {"x": tune.uniform(0, 1)}, num_samples=3, search_alg=mine)
        assert len(mine._study.trials) == trials
    with pytest.raises(ValueError, match="has searched another param_space"):
        run_study(parabola, {"x": tune.uniform(0, 2)}, num_samples=3, search_alg=mine)


def test_a_generator_of_variants_serves_any_space(run_study):
    mine = tune.search.BasicVariantGenerator(random_state=1)
    for high in (1, 100):
        grid = run_study(parabola, {"x": tune.uniform(0, high)}, num_samples=4, search_alg=mine)
        assert len(grid) == 4


def test_results_are_there_after_fit_only(tmp_path):
    tuner = tune.Tuner(
        parabola,
        param_space={"x": 1},
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    )
    with pytest.raises(RuntimeError, match="call fit"):
        tuner.get_results()
    assert tuner.fit() is tuner.get_results()


def test_what_restore_could_not_read_is_said_before_the_study_begins(run_study):
    import threading

    with pytest.raises(tune.TuneError, match="cannot be pickled"):
        run_study(parabola, {"x": 1, "lock": threading.Lock()})


def test_a_scheduler_with_a_metric_of_its_own_needs_none_from_the_config(run_study):
    scheduler = tune.schedulers.FIFOScheduler()
    scheduler.set_search_properties("loss", "min")
    with pytest.raises(ValueError, match="drop one"):
        run_study(parabola, {"x": 1}, metric="loss", mode="min", scheduler=scheduler)


def test_parameters_that_the_function_lacks_are_named_before_any_trial(run_study):
    def sized(config, data):
        return {"size": len(data)}

    with pytest.raises(TypeError, match=r"those given \['other'\] \(missing"):
        run_study(tune.with_parameters(sized, other=1))
    assert run_study(tune.with_parameters(sized, data=[1]))[0].metrics["size"] == 1


def test_a_metric_that_is_none_is_the_worst_and_ends_no_study(run_study):
    def sometimes(config):
        tune.report({"loss": None if config["x"] else 3})

    grid = run_study(sometimes, {"x": tune.grid_search([1, 0])}, metric="loss", mode="min")
    assert grid.get_best_result().config == {"x": 0}
    nothing = run_study(lambda config: {"loss": None}, metric="loss", mode="min")
    assert not nothing.errors


def test_a_name_of_a_trial_that_is_no_text_is_refused(run_study):
    with pytest.raises(TypeError, match="trial_name_creator must return a text, got 3"):
        run_study(lambda config: {"x": 1}, trial_name_creator=lambda trial: 3)
