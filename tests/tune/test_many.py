"""Many trials: the last ones are as fast as the first, and the driver does not grow with them."""

import resource
import time

import pytest

import heliostat
from heliostat import tune

ENGINE = None


class Clock(tune.Callback):
    """When each thousandth part of a study had ended."""

    def __init__(self, part):
        self.part, self.ended, self.times = part, 0, [time.monotonic()]

    def __deepcopy__(self, memo):
        return self

    def on_trial_complete(self, iteration, trials, trial, **info):
        self.ended += 1
        if self.ended % self.part == 0:
            self.times.append(time.monotonic())


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
    spans = [b - a for a, b in zip(clock.times, clock.times[1:], strict=False)]
    return spans, grown_mb


@pytest.mark.alone
def test_a_thousand_trials_take_constant_time_each(tmp_path):
    spans, grown_mb = run_many(1000, 100, tmp_path)
    # The first part has the start of the processes in it; others share the machine.
    assert sorted(spans[5:])[2] < 3 * sorted(spans[1:6])[2]
    assert grown_mb < 100


@pytest.mark.soak
def test_a_hundred_thousand_trials_take_constant_time_and_little_memory(tmp_path):
    spans, grown_mb = run_many(100_000, 1000, tmp_path)
    # The fastest of ten thousand at either end: what else the machine does only ever adds.
    first, last = min(spans[1:11]), min(spans[-10:])
    assert first / last >= 0.9, (first, last)
    assert grown_mb <= 200
