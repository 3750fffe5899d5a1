"""Many trials: the last ones are as fast as the first, and the driver does not grow with them."""

import json
import os
import resource
import statistics
import time
from pathlib import Path

import pytest

import heliostat
from heliostat import tune

ENGINE = None
_SAME = {f"name-{number}": [number, str(number)] for number in range(20)}


def family(pid):
    """A process and all that it and its like have started."""
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            yield from family(child)


def cpu_s():
    """What this process and its workers have computed; what else the machine does is not in it."""
    fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2] for pid in family("self"))
    ticks = sum(sum(map(int, text.split()[11:13])) for text in fields)
    return ticks / os.sysconf("SC_CLK_TCK")


def measure():
    """How long something that never changes takes: a machine that others use is slow at times."""
    before = time.thread_time()
    for _ in range(50):
        json.loads(json.dumps(_SAME))
    return time.thread_time() - before


class Clock(tune.Callback):
    """What each part of a study has cost, and how slow the machine was meanwhile."""

    def __init__(self, part):
        self.part, self.ended, self.times, self.measured = part, 0, [cpu_s()], [0.0]

    def __deepcopy__(self, memo):
        return self

    def on_trial_complete(self, iteration, trials, trial, **info):
        self.ended += 1
        if self.ended % 50 == 0:
            self.measured[-1] += measure()
        if self.ended % self.part == 0:
            self.times.append(cpu_s())
            self.measured.append(0.0)

    def costs(self):
        """Of each part, in terms of what never changes."""
        spans = zip(self.times, self.times[1:], self.measured, strict=False)
        return [(after - before - same) / same for before, after, same in spans]


def trivial(config):
    return {"loss": config["x"]}


def run_many(count, part, tmp_path):
    heliostat.init(num_cpus=2)
    try:
        clock = Clock(part)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grid = tune.Tuner(
            trivial,
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=count),
            run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0, callbacks=[clock]),
        ).fit()
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert grid.num_terminated == count
    finally:
        heliostat.shutdown()
    return clock.costs(), grown_mb


@pytest.mark.alone
def test_a_thousand_trials_take_constant_time_each(tmp_path):
    costs, grown_mb = run_many(1000, 100, tmp_path)
    # The first part has the start of the processes in it.
    assert statistics.fmean(costs[5:]) < 3 * statistics.fmean(costs[1:5])
    assert grown_mb < 100


@pytest.mark.soak
def test_a_hundred_thousand_trials_take_constant_time_and_little_memory(tmp_path):
    costs, grown_mb = run_many(100_000, 2000, tmp_path)
    # The middle of ten thousand at either end: collecting garbage falls on some of them.
    first, last = statistics.median(costs[1:6]), statistics.median(costs[-5:])
    assert first / last >= 0.9, (first, last)
    assert grown_mb <= 200
