"""A bit of everything that the dashboard shows, under names that would run if a page let them."""

import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat import serve, train, tune
from heliostat.train.data_parallel_trainer import DataParallelTrainer

EVIL = "<img src=x onerror=heard.push('evil')>"
ANSI = "\x1b[31mred\x1b[0m\x1b]0;title\x07"


@ray.remote
def square(x: int) -> int:
    print(EVIL, ANSI, x)
    return x * x


@ray.remote
def fail() -> None:
    raise ValueError(EVIL)


@ray.remote(num_cpus=0)
class Counter:
    def add(self) -> int:
        return 1


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0})
class Echo:
    def __call__(self, request: object) -> str:
        return EVIL


def tasks_and_actors() -> list[object]:
    """What is to be kept, so that it is there when somebody looks."""
    counter = Counter.options(name=EVIL).remote()
    ray.get([square.options(name=EVIL).remote(n) for n in range(20)])
    ray.get([square.remote(n) for n in range(20)])
    with pytest.raises(ValueError, match="img"):
        ray.get(fail.remote())
    ray.get([counter.add.remote() for _ in range(3)])
    group = ray.util.placement_group([{"CPU": 0.5}], name=EVIL)
    ray.get(group.ready())
    return [counter, group, ray.put(b"x" * (1 << 20))]


def datasets(folder: Path) -> None:
    """One over a file whose name would run, by a function whose name would, and one that fails."""
    file = folder / f"{EVIL}.parquet"
    ray.data.range(1000).to_pandas().to_parquet(file)

    def same(batch: Mapping[str, Any]) -> Mapping[str, Any]:
        return batch

    same.__name__ = EVIL
    ray.data.read_parquet(str(file)).map_batches(same).materialize()
    file.write_bytes(b"no parquet")
    with pytest.raises(Exception, match="img"):
        ray.data.read_parquet(str(file)).map_batches(same).materialize()


def training(folder: Path) -> None:
    """Two ranks that report five times, with checkpoints."""

    def loop() -> None:
        for step in range(5):
            one = folder / f"saved-{step}"
            one.mkdir(exist_ok=True)
            is_first = train.get_context().get_world_rank() == 0
            kept = train.Checkpoint.from_directory(one) if is_first else None
            train.report({"loss": 1 / (step + 1), "note": EVIL}, checkpoint=kept)

    scaling = train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5})
    config = train.RunConfig(name=EVIL, storage_path=str(folder / "train"))
    DataParallelTrainer(loop, scaling_config=scaling, run_config=config).fit()


def tuning(folder: Path) -> None:
    """Trials with curves, and a parameter of words."""

    def objective(config: dict[str, object]) -> None:
        for step in range(1, 4):
            tune.report({"loss": float(str(config["lr"])) / step})

    tune.Tuner(
        objective,
        param_space={"lr": tune.uniform(0, 1), "kind": tune.choice([EVIL, "plain"])},
        tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=6),
        run_config=train.RunConfig(name=EVIL, storage_path=str(folder / "tune"), verbose=0),
    ).fit()


def serving(port: int) -> None:
    """An application that has answered."""
    serve.start(http_options={"port": port})
    serve.run(Echo.bind(), name="<b>app</b>")
    for _ in range(10):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            answer.read()


def do(folder: Path, port: int) -> list[object]:
    """All of it."""
    kept = tasks_and_actors()
    datasets(folder)
    training(folder)
    tuning(folder)
    serving(port)
    return [*kept, square.options(name="too large for now", num_cpus=4).remote(1)]
