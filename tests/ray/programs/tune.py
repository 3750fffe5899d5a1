"""Programs of Tune: spaces, grids, results, errors, stoppers, checkpoints, schedulers, files."""

import contextlib
import json
import os
import tempfile

from outcomes import library, main, program, refused, told

ALL = tempfile.TemporaryDirectory()


def fit(ray, trainable, space=None, *, run=None, **config):
    """The results of a Tuner in a folder of its own."""
    tune, folder = ray.tune, tempfile.mkdtemp(dir=ALL.name)
    options = {"storage_path": folder, "name": "exp", "verbose": 0, **(run or {})}
    return tune.Tuner(
        trainable,
        param_space=space or {},
        tune_config=tune.TuneConfig(**config),
        run_config=tune.RunConfig(**options),
    ).fit()


def found(results, *keys):
    """The named metrics of every result, sorted."""
    rows = [[told((each.metrics or {}).get(key)) for key in keys] for each in results]
    return sorted(rows, key=repr)


def squares(ray):
    def objective(config):
        for step in range(3):
            ray.tune.report({"score": config.get("x", 1) ** 2 + step})

    return objective


# Spaces


@program
def a_grid(ray):
    tune = ray.tune

    def objective(config):
        tune.report({"seen": [config["a"], config["b"], config["inner"]["c"]]})

    space = {
        "a": tune.grid_search([1, 2]),
        "b": "fixed",
        "inner": {"c": tune.grid_search([3, 4])},
    }
    return found(fit(ray, objective, space), "seen")


@program
def a_grid_several_times(ray):
    def objective(config):
        ray.tune.report({"seen": config["a"], "drawn": 0 <= config["b"] < 10})

    space = {"a": ray.tune.grid_search([1, 2]), "b": ray.tune.randint(0, 10)}
    return found(fit(ray, objective, space, num_samples=2), "seen", "drawn")


@program
def samples_from_other_values(ray):
    tune = ray.tune

    def objective(config):
        tune.report({"a": config["a"], "b": config["b"]})

    space = {
        "a": tune.grid_search([1, 2]),
        "b": tune.sample_from(lambda config: config["a"] * 10),
    }
    return found(fit(ray, objective, space), "a", "b")


@program
def points_to_begin_with(ray):
    search = library(ray, "tune.search")

    def objective(config):
        ray.tune.report({"x": config["x"]})

    points = search.BasicVariantGenerator(points_to_evaluate=[{"x": 5}, {"x": 7}])
    results = fit(ray, objective, {"x": ray.tune.choice([5, 7])}, search_alg=points, num_samples=2)
    return found(results, "x")


@program
def spaces_that_make_no_sense(ray):
    tune = ray.tune
    objective = squares(ray)
    return [
        refused(lambda: tune.Tuner(objective, param_space=5)),
        refused(lambda: tune.Tuner(5).fit()),
        refused(lambda: tune.Tuner("nobody registered").fit()),
        refused(lambda: fit(ray, objective, {"x": 1}, num_samples=0)),
        refused(lambda: tune.TuneConfig(mode="most")),
        refused(lambda: fit(ray, objective, {"x": 1}, mode="most", metric="score")),
    ]


# What trials report


@program
def what_results_hold(ray):
    results = fit(
        ray, squares(ray), {"x": ray.tune.grid_search([1, 3])}, metric="score", mode="max"
    )
    best = results.get_best_result()
    return [
        len(results),
        [results.num_errors, results.num_terminated, len(results.errors)],
        best.metrics["score"],
        best.config,
        [best.metrics["training_iteration"], best.metrics["done"]],
        best.error,
        best.checkpoint,
        list(best.metrics_dataframe["score"]),
        sorted(results.get_dataframe()["score"]),
        [type(results).__name__, type(best).__name__, type(results[0]).__name__],
        [column for column in results.get_dataframe().columns if column.startswith("config/")],
    ]


@program
def the_best_is_asked_for_badly(ray):
    results = fit(ray, squares(ray), {"x": ray.tune.grid_search([1, 3])})
    return [
        refused(lambda: results.get_best_result()),
        refused(lambda: results.get_best_result(metric="nothing", mode="max")),
        refused(lambda: results.get_best_result(metric="score")),
        refused(lambda: results.get_best_result(metric="score", mode="most")),
        results.get_best_result(metric="score", mode="min").config,
        results.get_best_result("score", "max", scope="all").config,
        refused(lambda: results.get_best_result("score", "max", scope="some")),
        refused(lambda: results[7]),
    ]


@program
def metrics_that_a_result_carries(ray):
    (result,) = fit(ray, squares(ray))
    known = {
        "score", "training_iteration", "trial_id", "done", "config", "time_total_s", "pid",
        "hostname", "node_ip", "date", "timestamp", "time_this_iter_s", "iterations_since_restore",
        "time_since_restore", "checkpoint_dir_name",
    }  # fmt: skip
    return [sorted(known & set(result.metrics)), sorted(set(result.metrics) - known)]


@program
def a_result_is_returned(ray):
    return [
        found(fit(ray, lambda config: {"score": 5}), "score", "training_iteration"),
        found(fit(ray, lambda config: None), "score", "training_iteration"),
        refused(lambda: found(fit(ray, lambda config: 5), "score", "_metric")),
    ]


@program
def reports_that_make_no_sense(ray):
    def objective(config):
        ray.tune.report(config["what"])

    def outside():
        ray.tune.report({"x": 1})

    (result,) = fit(ray, objective, {"what": 5})
    return [type(result.error).__name__ if result.error else None, refused(outside)]


@program
def nested_metrics(ray):
    def objective(config):
        ray.tune.report({"loss": {"train": config["x"], "test": -config["x"]}})

    results = fit(
        ray, objective, {"x": ray.tune.grid_search([1, 2])}, metric="loss/train", mode="max"
    )
    return [
        results.get_best_result().config,
        sorted(c for c in results.get_dataframe().columns if c.startswith("loss")),
    ]


@program
def metrics_that_are_not_numbers(ray):
    def objective(config):
        ray.tune.report({"score": config["x"]})

    values = [float("nan"), 1.0, float("inf")]
    results = fit(ray, objective, {"x": ray.tune.grid_search(values)}, metric="score", mode="max")
    return [
        told(results.get_best_result().metrics["score"]),
        told(results.get_best_result(filter_nan_and_inf=False).metrics["score"]),
    ]


@program
def a_metric_that_is_never_reported(ray):
    return refused(
        lambda: [type(r.error).__name__ for r in fit(ray, squares(ray), metric="other", mode="max")]
    )


# Errors


@program
def an_error_of_a_trial(ray):
    def objective(config):
        ray.tune.report({"score": 1})
        if config["x"] == 2:
            raise ValueError("no two")

    results = fit(ray, objective, {"x": ray.tune.grid_search([1, 2])})
    (error,) = results.errors
    return [
        results.num_errors,
        results.num_terminated,
        "no two" in str(error),
        isinstance(error, Exception),
        isinstance(error, ray.exceptions.RayTaskError),
        [bool(r.error) for r in sorted(results, key=lambda r: r.config["x"])],
        results.get_best_result("score", "max").metrics["score"],
    ]


@program
def errors_that_are_retried(ray):
    with tempfile.TemporaryDirectory() as marks:

        def objective(config):
            n = len(os.listdir(marks))
            open(f"{marks}/{n}", "w").close()
            if n < 2:
                raise ValueError(n)
            ray.tune.report({"n": n})

        again = ray.tune.FailureConfig(max_failures=2)
        return found(fit(ray, objective, run={"failure_config": again}), "n")


@program
def failing_fast(ray):
    def objective(config):
        raise ValueError("at once")

    fast = {"failure_config": ray.tune.FailureConfig(fail_fast=True)}
    results = fit(ray, objective, run=fast)
    return [
        results.num_errors,
        refused(lambda: ray.tune.FailureConfig(max_failures=1, fail_fast=True)),
        refused(lambda: ray.tune.FailureConfig(fail_fast="slowly")),
    ]


# When trials stop


def forever(ray):
    def objective(config):
        for step in range(1000):
            ray.tune.report({"step": step, "flat": 1.0})

    return objective


@program
def stops_of_all_kinds(ray):
    stopper = library(ray, "tune.stopper")
    stops = [
        {"training_iteration": 3},
        {"step": 4},
        lambda trial_id, result: result["step"] >= 2,
        stopper.MaximumIterationStopper(5),
        stopper.TrialPlateauStopper("flat", num_results=2, grace_period=2),
        stopper.CombinedStopper(
            stopper.MaximumIterationStopper(9),
            stopper.FunctionStopper(lambda trial_id, result: result["step"] >= 1),
        ),
    ]
    return [
        found(fit(ray, forever(ray), run={"stop": stop}), "training_iteration") for stop in stops
    ]


@program
def a_stopper_of_one_s_own(ray):
    class Third(ray.tune.Stopper):
        def __call__(self, trial_id, result):
            return result["training_iteration"] >= 3

        def stop_all(self):
            return False

    return found(fit(ray, forever(ray), run={"stop": Third()}), "training_iteration")


# Checkpoints


def saving(ray):
    tune = ray.tune

    def objective(config):
        start = 0
        if checkpoint := tune.get_checkpoint():
            with checkpoint.as_directory() as folder, open(f"{folder}/step") as file:
                start = int(file.read()) + 1
        for step in range(start, 4):
            with tempfile.TemporaryDirectory() as folder:
                with open(f"{folder}/step", "w") as file:
                    file.write(str(step))
                tune.report(
                    {"step": step, "score": -abs(step - 2), "start": start},
                    checkpoint=tune.Checkpoint.from_directory(folder),
                )
            if step == 1 and start == 0 and config.get("fail"):
                raise ValueError("once")

    return objective


@program
def a_trial_goes_on_from_its_checkpoint(ray):
    again = {"failure_config": ray.tune.FailureConfig(max_failures=1)}
    return found(fit(ray, saving(ray), {"fail": True}, run=again), "step", "start")


@program
def files_of_an_experiment(ray):
    tune = ray.tune
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            squares(ray),
            param_space={"x": tune.grid_search([1, 2])},
            run_config=tune.RunConfig(storage_path=folder, name="exp", verbose=0),
        ).fit()
        path = results.experiment_path
        trials = [results[n].path for n in range(2)]
        with open(f"{trials[0]}/result.json") as file:
            lines = [json.loads(line)["score"] for line in file]
        with open(f"{trials[0]}/params.json") as file:
            parameters = json.load(file)
        kinds = {name.partition("-")[0] for name in os.listdir(path)}
        return [
            path == f"{folder}/exp",
            sorted(name for name in os.listdir(trials[0]) if not name.startswith("events")),
            sorted(kind for kind in kinds if not kind.startswith("objective")),
            [os.path.dirname(trial) == path for trial in trials],
            len(lines),
            sorted(parameters),
        ]


@program
def a_tuner_is_restored(ray):
    tune = ray.tune
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(Exception):
            tune.Tuner(
                saving(ray),
                param_space={"fail": tune.grid_search([False, True])},
                run_config=tune.RunConfig(storage_path=folder, name="exp", verbose=0),
            ).fit()
        path = f"{folder}/exp"
        restored = tune.Tuner.restore(path, saving(ray), resume_errored=True)
        before = restored.get_results().num_errors
        return [
            [tune.Tuner.can_restore(path), tune.Tuner.can_restore(folder)],
            before,
            found(restored.fit(), "step", "start"),
            refused(lambda: tune.Tuner.restore(f"{folder}/nothing", saving(ray))),
        ]


# Classes


@program
def a_class_of_trials(ray):
    class Climb(ray.tune.Trainable):
        def setup(self, config):
            self.at = config["start"]

        def step(self):
            self.at += 1
            return {"at": self.at, "done": self.at >= 5}

        def save_checkpoint(self, folder):
            with open(f"{folder}/at", "w") as file:
                file.write(str(self.at))

        def load_checkpoint(self, folder):
            with open(f"{folder}/at") as file:
                self.at = int(file.read())

    at_end = ray.tune.CheckpointConfig(checkpoint_at_end=True)
    results = fit(
        ray,
        Climb,
        {"start": ray.tune.grid_search([1, 3])},
        run={"checkpoint_config": at_end},
    )
    return [
        found(results, "at", "training_iteration"),
        [bool(result.checkpoint) for result in results],
    ]


@program
def a_class_by_hand(ray):
    class Steps(ray.tune.Trainable):
        def setup(self, config):
            self.n = config.get("n", 0)

        def step(self):
            self.n += 1
            return {"n": self.n}

        def save_checkpoint(self, folder):
            return {"n": self.n}

        def load_checkpoint(self, state):
            self.n = state["n"]

    steps = Steps({"n": 5})
    first = steps.train()
    return [
        [first["n"], first["training_iteration"], steps.iteration, steps.training_iteration],
        steps.get_config(),
        type(steps.train()["time_total_s"]).__name__,
        steps.stop(),
    ]


@program
def classes_that_are_not_finished(ray):
    class Nothing(ray.tune.Trainable):
        pass

    (result,) = fit(ray, Nothing)
    return [bool(result.error), refused(lambda: Nothing().train())]


# Schedulers and searchers


@program
def asha_cuts_short(ray):
    schedulers = library(ray, "tune.schedulers")

    def objective(config):
        for step in range(9):
            ray.tune.report({"score": config["x"] * (step + 1)})

    asha = schedulers.ASHAScheduler(max_t=8, grace_period=1, reduction_factor=2)
    results = fit(
        ray,
        objective,
        {"x": ray.tune.grid_search([8, 7, 6, 5, 4, 3, 2, 1])},
        metric="score",
        mode="max",
        scheduler=asha,
        max_concurrent_trials=1,
    )
    by = sorted((r.config["x"], r.metrics["training_iteration"]) for r in results)
    return told(by)


@program
def schedulers_refuse(ray):
    schedulers = library(ray, "tune.schedulers")
    asha, pbt = schedulers.ASHAScheduler, schedulers.PopulationBasedTraining
    return [
        refused(lambda: asha(max_t=0)),
        refused(lambda: asha(max_t=1, grace_period=2)),
        refused(lambda: asha(reduction_factor=1)),
        refused(lambda: asha(mode="most")),
        refused(lambda: asha(brackets=0)),
        refused(lambda: pbt(metric="a", mode="max")),
        refused(lambda: pbt(metric="a", mode="max", hyperparam_mutations={"x": 5})),
        refused(lambda: pbt(hyperparam_mutations={"x": [1]}, quantile_fraction=0.9, mode="max")),
        refused(lambda: ray.tune.create_scheduler("nobody's")),
        refused(lambda: ray.tune.create_searcher("nobody's")),
        refused(
            lambda: (
                fit(
                    ray,
                    squares(ray),
                    metric="score",
                    mode="max",
                    scheduler=asha(metric="score", mode="max"),
                ).num_errors
            )
        ),
    ]


@program
def the_median_rule(ray):
    schedulers = library(ray, "tune.schedulers")

    def objective(config):
        for _ in range(6):
            ray.tune.report({"score": config["x"]})

    rule = schedulers.MedianStoppingRule(
        time_attr="training_iteration", grace_period=2, min_samples_required=2
    )
    results = fit(
        ray,
        objective,
        {"x": ray.tune.grid_search([5, 4, 3, 1])},
        metric="score",
        mode="max",
        scheduler=rule,
        max_concurrent_trials=1,
    )
    return sorted((r.config["x"], r.metrics["training_iteration"]) for r in results)


@program
def a_searcher_of_one_s_own(ray):
    search = library(ray, "tune.search")

    class Counting(search.Searcher):
        def __init__(self):
            super().__init__(metric="score", mode="max")
            self.told, self.next = [], 0

        def suggest(self, trial_id):
            self.next += 1
            return {"x": self.next} if self.next <= 3 else search.Searcher.FINISHED

        def on_trial_complete(self, trial_id, result=None, error=False):
            self.told.append(result["score"])

        def save(self, path):
            pass

        def restore(self, path):
            pass

    mine = Counting()
    results = fit(ray, squares(ray), search_alg=mine, num_samples=10, max_concurrent_trials=1)
    return [sorted(r.config["x"] for r in results), sorted(mine.told)]


# Things around


@program
def the_context_of_a_trial(ray):
    def objective(config):
        context = ray.tune.get_context()
        ray.tune.report(
            {
                "name": context.get_experiment_name(),
                "id": bool(context.get_trial_id()),
                "trial": context.get_trial_name().startswith("objective_"),
                "dir": os.path.basename(context.get_trial_dir()).startswith("objective_"),
                "cwd": os.getcwd() == context.get_trial_dir(),
            }
        )

    return found(fit(ray, objective), "name", "id", "trial", "dir")


@program
def names_of_trials(ray):
    def objective(config):
        context = ray.tune.get_context()
        ray.tune.report(
            {"name": context.get_trial_name(), "dir": os.path.basename(context.get_trial_dir())}
        )

    results = fit(
        ray,
        objective,
        {"x": 1},
        trial_name_creator=lambda trial: "named",
        trial_dirname_creator=lambda trial: "placed",
    )
    return found(results, "name", "dir")


@program
def registered_names(ray):
    ray.tune.register_trainable("registered", squares(ray))
    return [
        found(fit(ray, "registered", {"x": 2}), "score"),
        refused(lambda: ray.tune.register_trainable("wrong", 5)),
    ]


@program
def callbacks_are_told(ray):
    class Notes(ray.tune.Callback):
        def __init__(self):
            self.seen = []

        def setup(self, stop=None, num_samples=None, total_num_samples=None, **info):
            self.seen.append("setup")

        def on_trial_start(self, iteration, trials, trial, **info):
            self.seen.append("start")

        def on_trial_result(self, iteration, trials, trial, result, **info):
            self.seen.append(f"result {result.get('score')}")

        def on_trial_complete(self, iteration, trials, trial, **info):
            self.seen.append("complete")

        def on_experiment_end(self, trials, **info):
            self.seen.append("end")

    notes = Notes()
    fit(ray, squares(ray), run={"callbacks": [notes]})
    return notes.seen


@program
def an_older_run_that_fails(ray):
    def objective(config):
        raise ValueError("older")

    with tempfile.TemporaryDirectory() as folder:
        run = ray.tune.run
        again = run(
            objective, storage_path=folder, name="exp", verbose=0, raise_on_failed_trial=False
        )
        return [
            refused(lambda: run(objective, storage_path=folder, name="two", verbose=0)),
            [trial.status for trial in again.trials],
        ]


if __name__ == "__main__":
    main("tune", "tune.schedulers", "tune.search", "tune.stopper")
