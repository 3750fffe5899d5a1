"""Resources that change while trials run."""

import pytest

import heliostat
from heliostat import tune
from heliostat.tune._trial import PENDING, RUNNING, Trial
from heliostat.tune.schedulers import ASHAScheduler, ResourceChangingScheduler
from heliostat.tune.schedulers.resource_changing_scheduler import (
    DistributeResources,
    DistributeResourcesToTopJob,
)


class Study:
    def __init__(self, count, cpus=8, **capacity):
        self.trials = [
            Trial(f"t{n}", "f", {}, f"{n}", "/x", {"CPU": 1}, state=RUNNING) for n in range(count)
        ]
        self.capacity = {"CPU": cpus, **capacity}
        self.given = {}

    def get_live_trials(self):
        return self.trials

    def get_capacity(self):
        return self.capacity

    def set_resources(self, trial, request, total):
        self.given[trial.trial_id] = total


def report(scheduler, study, n, loss=1.0):
    trial = study.trials[n]
    trial.last_result = {"training_iteration": 1, "loss": loss}
    return scheduler.on_trial_result(study, trial, trial.last_result)


def test_an_equal_share_for_all_who_are_left():
    study, scheduler = Study(3), ResourceChangingScheduler()
    assert report(scheduler, study, 0) == "PAUSE"
    assert study.given == {"t0": {"CPU": 2}}
    del study.trials[2]
    report(scheduler, study, 1)
    assert study.given["t1"] == {"CPU": 4}


def test_without_a_change_it_goes_on():
    study, scheduler = Study(8), ResourceChangingScheduler()
    assert report(scheduler, study, 0) == "CONTINUE"
    assert study.given == {}


def test_who_has_not_begun_comes_first():
    study, scheduler = Study(2), ResourceChangingScheduler()
    study.trials[1].state = PENDING
    assert report(scheduler, study, 0) == "CONTINUE"


def test_steps_limits_and_reserves_are_kept():
    study = Study(1, cpus=8)
    for given, total in [
        ({"increase_by": {"CPU": 3}}, {"CPU": 7}),
        ({"increase_by": {"CPU": 1}, "increase_by_times": 2}, {"CPU": 3}),
        ({"reserve_resources": {"CPU": 3}}, {"CPU": 5}),
        ({"add_bundles": True}, {"CPU": 8}),
    ]:
        report(
            ResourceChangingScheduler(None, DistributeResources(**given)),
            study,
            0,
        )
        assert study.given["t0"] == total
    with pytest.raises(ValueError, match="increase_by"):
        DistributeResources(increase_by={"CPU": 0})


def test_the_best_gets_all_that_is_free():
    study = Study(3)
    scheduler = ResourceChangingScheduler(
        None, DistributeResourcesToTopJob(metric="loss", mode="min")
    )
    assert report(scheduler, study, 0, loss=1) == "PAUSE"
    assert study.given == {"t0": {"CPU": 6}}
    assert report(scheduler, study, 1, loss=2) == "CONTINUE"
    with pytest.raises(ValueError, match="needs a metric"):
        report(ResourceChangingScheduler(None, DistributeResourcesToTopJob()), study, 1)


def test_the_scheduler_inside_has_the_first_word():
    study = Study(2)
    scheduler = ResourceChangingScheduler(ASHAScheduler(max_t=1))
    scheduler.set_search_properties("loss", "min")
    for trial in study.trials:
        scheduler.on_trial_add(study, trial)
    assert report(scheduler, study, 0) == "STOP"
    assert (scheduler.metric, scheduler.mode) == ("loss", "min")
    assert scheduler.choose_trial_to_run(type("S", (), {"get_waiting_trials": list})()) is None
    scheduler.on_trial_complete(study, study.trials[0], {})
    scheduler.on_trial_error(study, study.trials[0])
    scheduler.on_trial_remove(study, study.trials[0])


def test_what_is_no_function_and_what_returns_no_resources_is_refused():
    with pytest.raises(TypeError, match="must be a function"):
        ResourceChangingScheduler(None, 3)
    with pytest.raises(TypeError, match="must return a dict"):
        report(ResourceChangingScheduler(None, lambda *args: 3), Study(1), 0)


class Counter(tune.Trainable):
    def setup(self, config):
        self.count = 0
        self.cpus = []

    def step(self):
        self.count += 1
        self.cpus = [*self.cpus, self._session.order.resources["CPU"]]
        return {"loss": 1.0, "cpus": self.cpus, "done": self.count == 4}

    def save_checkpoint(self, checkpoint_dir):
        return {"count": self.count, "cpus": self.cpus}

    def load_checkpoint(self, checkpoint):
        self.count, self.cpus = checkpoint["count"], checkpoint["cpus"]


def test_a_trial_goes_on_with_what_it_is_given(run_study):
    assert heliostat.cluster_resources()["CPU"] == 2
    [result] = run_study(Counter, metric="loss", mode="min", scheduler=ResourceChangingScheduler())
    assert result.metrics["cpus"] == [1, 2, 2, 2]
    assert result.metrics["training_iteration"] == 4
