"""Programs of Train: ranks, reports, checkpoints, results, errors, datasets, configurations."""

import tempfile

from outcomes import library, main, program, refused, told

ALL = tempfile.TemporaryDirectory()


def trainer(ray, loop, *, run=None, workers=2, **options):
    """A trainer of ranks in a folder of its own; Ray's lies where only its own libraries look."""
    train = ray.train
    where = "train.v2.api.data_parallel_trainer" if ray.__name__ == "ray" else "train"
    folder = tempfile.mkdtemp(dir=ALL.name)
    return library(ray, where).DataParallelTrainer(
        loop,
        scaling_config=train.ScalingConfig(num_workers=workers),
        run_config=train.RunConfig(**{"storage_path": folder, "name": "run", **(run or {})}),
        **options,
    )


def fit(ray, loop, **options):
    return trainer(ray, loop, **options).fit()


def saved(train, step):
    """A checkpoint that holds a number; the caller's folder is temporary."""
    folder = tempfile.mkdtemp()
    with open(f"{folder}/step", "w") as file:
        file.write(str(step))
    return train.Checkpoint.from_directory(folder)


def step_of(checkpoint):
    with checkpoint.as_directory() as folder, open(f"{folder}/step") as file:
        return int(file.read())


@program
def a_loop_that_reports_nothing(ray):
    result = fit(ray, lambda: None)
    return [told(result.metrics), result.checkpoint, result.error]


@program
def a_loop_goes_on_from_its_checkpoint(ray):
    train = ray.train

    def loop():
        last = train.get_checkpoint()
        start = step_of(last) + 1 if last else 0
        for step in range(start, 3):
            train.report({"step": step, "start": start}, checkpoint=saved(train, step))
            if step == 1 and start == 0:
                raise ValueError("once")

    again = train.FailureConfig(max_failures=1)
    result = fit(ray, loop, run={"failure_config": again}, workers=1)
    return told(result.metrics)


@program
def a_run_that_is_there_already(ray):
    train = ray.train
    folder = tempfile.mkdtemp(dir=ALL.name)

    def loop():
        last = train.get_checkpoint()
        train.report({"seen": step_of(last) if last else None}, checkpoint=saved(train, 7))

    run = {"storage_path": folder, "name": "again"}
    return [told(fit(ray, loop, run=run, workers=1).metrics) for _ in range(2)]


@program
def results_of_a_path(ray):
    train = ray.train
    folder = tempfile.mkdtemp(dir=ALL.name)

    def loop():
        for step in range(2):
            train.report({"step": step}, checkpoint=saved(train, step))

    done = fit(ray, loop, run={"storage_path": folder, "name": "kept"}, workers=1)
    again = train.Result.from_path(f"{folder}/kept")
    return [
        done.path == f"{folder}/kept",
        told(again.metrics),
        step_of(again.checkpoint),
        len(again.best_checkpoints),
        refused(lambda: train.Result.from_path(f"{folder}/nothing")),
    ]


@program
def what_is_refused_outside_of_a_loop(ray):
    train = ray.train
    return [
        refused(lambda: train.report({"x": 1})),
        refused(lambda: train.get_checkpoint()),
        refused(lambda: train.get_dataset_shard("train")),
        refused(lambda: train.get_context().get_world_rank()),
    ]


@program
def callbacks_of_a_run(ray):
    folder = tempfile.mkdtemp(dir=ALL.name)

    class Notes(ray.train.UserCallback):
        def after_report(self, run_context, metrics, checkpoint):
            with open(f"{folder}/notes", "a") as file:
                file.write(f"{len(metrics)} {bool(checkpoint)}\n")

    def loop():
        ray.train.report({"x": 1})

    fit(ray, loop, run={"callbacks": [Notes()]})
    with open(f"{folder}/notes") as file:
        return file.read()


if __name__ == "__main__":
    main("train", "train.collective")
