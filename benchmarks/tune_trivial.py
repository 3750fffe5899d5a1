"""What Tune adds to a trivial trial: against a plain loop over the configs, and against a bare actor call.

    python -m benchmarks.tune_trivial [--trials 1000] [--rounds 2]

All in one run on one machine; the plain loop writes nothing to disk and survives nothing. Studies are written
to memory and to the temporary folder: a directory and two files for each trial, which a slow disk feels.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable

from benchmarks.ratios import Row, show

os.environ.setdefault("HELIOSTAT_PROGRESS", "0")

import heliostat as ray
from heliostat import tune

SPACE = {"x": tune.uniform(0, 1), "depth": tune.randint(2, 12)}


def returns(config):
    return {"loss": config["x"] ** 2}


def reports(config):
    tune.report({"loss": config["x"] ** 2})


class Echo:
    def call(self, config):
        return {"loss": config["x"] ** 2}


def study(trainable: Callable, trials: int, path: str) -> float:
    tuner = tune.Tuner(
        trainable,
        param_space=SPACE,
        tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=trials),
        run_config=tune.RunConfig(storage_path=path, verbose=0),
    )
    started = time.perf_counter()
    grid = tuner.fit()
    took = time.perf_counter() - started
    assert grid.num_terminated == trials
    return took / trials * 1e6


def plain(trials: int) -> float:
    draw = tune.search.BasicVariantGenerator(random_state=0)
    draw.set_search_properties("loss", "min", SPACE, num_samples=trials)
    started = time.perf_counter()
    results = [returns(draw.suggest(str(n))) for n in range(trials)]
    min(result["loss"] for result in results)
    return (time.perf_counter() - started) / trials * 1e6


def actor_calls(trials: int) -> float:
    actor = ray.remote(Echo).options(num_cpus=0).remote()
    ray.get(actor.call.remote({"x": 1}))
    started = time.perf_counter()
    for _ in range(trials):
        ray.get(actor.call.remote({"x": 1}))
    return (time.perf_counter() - started) / trials * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    ray.init(num_cpus=2)
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    rounds = range(asked.rounds)
    with tempfile.TemporaryDirectory(dir=memory) as path, tempfile.TemporaryDirectory() as disk:
        study(returns, 20, path)  # warm workers
        calls = tuple(actor_calls(asked.trials) for _ in rounds)
        loop = tuple(plain(asked.trials) for _ in rounds)
        returned = tuple(study(returns, asked.trials, path) for _ in rounds)
        reported = tuple(study(reports, asked.trials, path) for _ in rounds)
        on_disk = tuple(study(returns, asked.trials, disk) for _ in rounds)
    ray.shutdown()
    show(
        [
            Row("a trial that returns", "us", "less", returned, calls),
            Row("a trial that reports", "us", "less", reported, calls),
            Row("a trial that returns, on disk", "us", "less", on_disk, calls),
        ],
        "actor call",
    )
    show([Row("a trial that returns", "us", "less", returned, loop)], "plain loop")
    print(f"\n{1e6 / min(returned):,.0f} trials/s at best, start of the actors included")


if __name__ == "__main__":
    main()
