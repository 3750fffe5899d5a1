"""The decider of a study: what starts, what stops, what is tried again, what is kept."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from heliostat import tune
from heliostat.tune import _messages as m
from heliostat.tune._experiment import Experiment
from heliostat.tune._study import Study
from heliostat.tune._trial import check_fits
from heliostat.tune.schedulers import FIFOScheduler, TrialScheduler
from heliostat.tune.search import BasicVariantGenerator, Searcher
from heliostat.tune.stopper import NoopStopper, Stopper, as_stopper

_ENDS = ("complete", "error", "interrupt")


class Say(TrialScheduler):
    """Does what the report says."""

    def on_trial_result(self, tune_controller, trial, result):
        return result.get("verdict", self.CONTINUE)


class Bench:
    """Feeds an Experiment and keeps what it commands, as a Loop would."""

    def __init__(self, samples=4, capacity=None, scheduler=None, stop=None, searcher=None, **fixed):
        self.searcher = searcher or BasicVariantGenerator(random_state=0)
        self.space = fixed.pop("space", {"x": tune.uniform(0, 1)})
        self.searcher.set_search_properties(None, None, self.space, num_samples=samples)
        study = Study(
            name="s",
            trainable_name="f",
            id_prefix="t",
            space=self.space,
            limit=fixed.pop("limit", None),
            capacity=capacity or {"CPU": 2},
            request=fixed.pop("request", lambda config: {"CPU": 1}),
            **fixed,
        )
        stopper = None if stop is None else as_stopper(stop)
        self.experiment = Experiment(study, self.searcher, scheduler, stopper)
        self.commands = []

    def send(self, event, now=0.0):
        out = self.experiment.handle(event, now)
        self.experiment.check()
        self.commands += out
        return out

    def tick(self, now=0.0):
        return self.send(m.Tick(), now)

    def attempt(self, trial_id):
        return self.experiment.get_trial(trial_id).attempt

    def report(self, trial_id, checkpoint=None, **metrics):
        return self.send(
            m.Reported(trial_id, self.attempt(trial_id), [m.Report(metrics, checkpoint)])
        )

    def done(self, trial_id, error=None, saved=None, **metrics):
        reports = [m.Report(metrics)] if metrics else []
        return self.send(m.TrialDone(trial_id, self.attempt(trial_id), reports, error, saved))

    def lost(self, trial_id):
        return self.send(m.TrialLost(trial_id, self.attempt(trial_id), OSError("gone")))

    def status(self):
        return [trial.status for trial in self.experiment.get_trials()]


def of(kind, commands):
    return [command for command in commands if isinstance(command, kind)]


def started(commands):
    return [command.trial.trial_id for command in of(m.Start, commands)]


def test_as_many_trials_start_as_fit():
    bench = Bench(capacity={"CPU": 3}, request=lambda config: {"CPU": 1.5})
    assert started(bench.tick()) == ["t_00000", "t_00001"]


def test_an_ended_trial_makes_room_for_the_next():
    bench = Bench()
    bench.tick()
    assert started(bench.done("t_00001", loss=1)) == ["t_00002"]
    assert bench.status()[:3] == ["RUNNING", "TERMINATED", "RUNNING"]


def test_trials_are_made_when_there_is_room_not_before():
    bench = Bench(samples=100_000)
    bench.tick()
    assert len(bench.experiment.get_trials()) == 3


def test_no_more_than_max_concurrent_run():
    bench = Bench(max_concurrent=1)
    assert started(bench.tick()) == ["t_00000"]


def test_a_trial_that_can_never_fit_is_refused_by_name():
    with pytest.raises(tune.TuneError, match=r"GPU: 1 asked, 0 there"):
        Bench(request=lambda config: {"CPU": 1, "GPU": 1}).tick()
    check_fits({"CPU": 0.1 + 0.2}, {"CPU": 0.3}, "rounding is forgiven")


def test_the_study_is_over_when_all_trials_ended():
    bench = Bench(samples=2)
    bench.tick()
    bench.done("t_00000", loss=1)
    assert not bench.experiment.finished
    bench.done("t_00001", loss=1)
    assert bench.experiment.finished
    assert (bench.experiment.ended, bench.experiment.failed) == (2, 0)


def test_late_news_of_an_older_attempt_is_dropped():
    bench = Bench(samples=1, max_failures=1)
    bench.tick()
    bench.lost("t_00000")
    assert bench.attempt("t_00000") == 2
    assert bench.send(m.TrialDone("t_00000", 1, [], None)) == []
    assert bench.status() == ["RUNNING"]


def test_a_failed_trial_does_not_end_the_study():
    bench = Bench(samples=3)
    bench.tick()
    bench.done("t_00000", error=ValueError("no"))
    bench.done("t_00001", loss=1)
    bench.done("t_00002", loss=1)
    assert bench.status() == ["ERROR", "TERMINATED", "TERMINATED"]
    assert bench.experiment.finished
    assert bench.experiment.failure is None


def test_a_failed_trial_goes_on_from_its_checkpoint_before_new_ones_start():
    bench = Bench(max_failures=1)
    bench.tick()
    bench.report("t_00000", checkpoint="c0", loss=1)
    [start] = of(m.Start, bench.lost("t_00000"))
    assert (start.trial.trial_id, start.trial.resume_from) == ("t_00000", "c0")
    bench.done("t_00000", error=ValueError("again"))
    assert bench.status()[0] == "ERROR"


def test_without_limit_it_is_tried_for_ever():
    bench = Bench(samples=1, max_failures=-1)
    bench.tick()
    for _ in range(10):
        assert started(bench.lost("t_00000")) == ["t_00000"]


def test_fail_fast_stops_the_others():
    bench = Bench(fail_fast=True)
    bench.tick()
    out = bench.done("t_00000", error=ValueError("no"))
    assert of(m.Stop, out) == [m.Stop("t_00001")]
    bench.done("t_00001")
    assert bench.experiment.finished
    assert bench.status() == ["ERROR", "TERMINATED", "TERMINATED"]


def test_a_report_is_answered():
    bench = Bench(scheduler=Say())
    bench.tick()
    assert of(m.Continue, bench.report("t_00000", loss=1)) == [m.Continue("t_00000")]


def test_the_scheduler_stops_a_trial_which_keeps_its_room_until_it_is_quiet():
    bench = Bench(scheduler=Say())
    bench.tick()
    out = bench.report("t_00000", verdict="STOP")
    assert of(m.Stop, out) == [m.Stop("t_00000")]
    assert started(out) == []
    assert bench.status()[0] == "RUNNING"
    assert started(bench.done("t_00000")) == ["t_00002"]
    assert bench.status()[0] == "TERMINATED"


def test_a_trial_that_fails_while_it_is_being_stopped_has_ended_well():
    bench = Bench(scheduler=Say(), max_failures=3)
    bench.tick()
    bench.report("t_00000", verdict="STOP")
    bench.done("t_00000", error=ValueError("in its finally"))
    assert bench.status()[0] == "TERMINATED"
    bench.report("t_00001", verdict="STOP")
    bench.lost("t_00001")
    assert bench.status()[1] == "TERMINATED"


def test_a_paused_trial_is_saved_and_goes_on_after_the_new_ones():
    bench = Bench(samples=3, scheduler=Say())
    bench.tick()
    assert of(m.Pause, bench.report("t_00000", verdict="PAUSE")) == [m.Pause("t_00000")]
    assert started(bench.done("t_00000", saved="p0")) == ["t_00002"]
    assert bench.status()[0] == "PAUSED"
    [start] = of(m.Start, bench.done("t_00001"))
    assert (start.trial.trial_id, start.trial.resume_from, start.trial.attempt) == (
        "t_00000",
        "p0",
        2,
    )


def test_an_unknown_verdict_ends_the_study_and_names_the_scheduler():
    bench = Bench(scheduler=Say())
    bench.tick()
    bench.report("t_00000", verdict="MAYBE")
    assert "Say.on_trial_result returned 'MAYBE'" in str(bench.experiment.failure)


def test_a_scheduler_that_lets_nothing_run_ends_the_study():
    class Never(TrialScheduler):
        def choose_trial_to_run(self, tune_controller):
            return None

    bench = Bench(scheduler=Never())
    bench.tick()
    assert "wait for ever" in str(bench.experiment.failure)
    assert bench.experiment.finished


def test_the_stopper_ends_a_trial():
    bench = Bench(stop={"loss": 3})
    bench.tick()
    assert of(m.Continue, bench.report("t_00000", loss=2))
    assert of(m.Stop, bench.report("t_00000", loss=3)) == [m.Stop("t_00000")]


def test_the_stopper_ends_the_study():
    class All(Stopper):
        seen = 0

        def __call__(self, trial_id, result):
            self.seen += 1
            return False

        def stop_all(self):
            return self.seen > 1

    bench = Bench(stop=All())
    bench.tick()
    bench.report("t_00000", loss=1)
    out = bench.report("t_00000", loss=1)
    assert {c.trial_id for c in of(m.Stop, out)} == {"t_00000", "t_00001"}
    bench.done("t_00000")
    bench.done("t_00001")
    assert bench.experiment.finished


def test_the_time_budget_stops_everything_once():
    bench = Bench(time_budget_s=10)
    bench.tick(now=5.0)
    assert bench.experiment.deadline == 15.0
    assert of(m.Stop, bench.tick(now=14.9)) == []
    assert len(of(m.Stop, bench.tick(now=15.0))) == 2
    assert bench.experiment.deadline is None
    assert of(m.Stop, bench.tick(now=99.0)) == []


def test_an_interrupt_stops_everything_and_proposes_nothing_more():
    bench = Bench(max_failures=5)
    bench.tick()
    assert len(of(m.Stop, bench.send(m.Interrupted()))) == 2
    bench.lost("t_00000")
    assert started(bench.done("t_00001")) == []
    assert bench.experiment.finished
    ends = [one.what for one in of(m.Snapshot, bench.commands) if one.what in _ENDS]
    assert set(ends) == {"interrupt"}  # who goes on with the study runs them


def test_a_metric_that_was_never_reported_ends_the_study_and_names_those_that_were():
    bench = Bench(metric="rmse", mode="min")
    bench.tick()
    bench.done("t_00000", loss=1, eval={"auc": 2})
    failure = str(bench.experiment.failure)
    assert "'rmse'" in failure
    assert "'loss', 'eval/auc'" in failure


def test_a_metric_need_be_in_one_report_only():
    bench = Bench(samples=1, metric="eval/auc", mode="min")
    bench.tick()
    bench.report("t_00000", eval={"auc": 2})
    bench.done("t_00000", loss=1)
    assert bench.experiment.failure is None


def test_a_trial_that_lacks_the_metric_of_others_is_no_reason_to_end_the_study():
    bench = Bench(metric="loss", mode="min")
    bench.tick()
    bench.done("t_00000", loss=1)
    bench.done("t_00001", other=1)
    assert bench.experiment.failure is None


def test_a_trial_that_said_nothing_is_no_reason_to_end_the_study():
    bench = Bench(metric="rmse", mode="min")
    bench.tick()
    bench.done("t_00000")
    assert bench.experiment.failure is None


def test_the_worst_checkpoints_go_but_never_the_newest():
    bench = Bench(samples=1, keep=2, keep_by="loss", keep_mode="min")
    bench.tick()
    deleted = []
    for path, loss in [("a", 1), ("b", 3), ("c", 2), ("d", 9), ("e", float("nan"))]:
        deleted += of(m.Delete, bench.report("t_00000", checkpoint=path, loss=loss))
    assert deleted == [m.Delete("b"), m.Delete("c"), m.Delete("d")]
    [trial] = bench.experiment.get_trials()
    assert ([path for path, _ in trial.checkpoints], trial.resume_from) == (["a", "e"], "e")


def test_without_a_score_the_oldest_checkpoints_go():
    bench = Bench(samples=1, keep=1)
    bench.tick()
    bench.report("t_00000", checkpoint="a", loss=1)
    assert of(m.Delete, bench.report("t_00000", checkpoint="b", loss=1)) == [m.Delete("a")]


def test_a_checkpoint_is_on_record_before_an_older_one_goes():
    bench = Bench(samples=1, keep=1)
    bench.tick()
    bench.report("t_00000", checkpoint="a", loss=1)
    kinds = [
        getattr(c, "what", type(c).__name__)
        for c in bench.report("t_00000", checkpoint="b", loss=1)
    ]
    assert kinds == ["result", "Delete", "Continue"]


def test_the_searcher_hears_of_every_end():
    class Listen(BasicVariantGenerator):
        heard: list = []  # noqa: RUF012 - one test

        def on_trial_complete(self, trial_id, result=None, error=False):
            super().on_trial_complete(trial_id)
            self.heard.append((trial_id, result and result["loss"], error))

    bench = Bench(samples=2, searcher=Listen())
    bench.tick()
    bench.done("t_00000", loss=3)
    bench.done("t_00001", error=ValueError("no"))
    assert bench.searcher.heard == [("t_00000", 3, False), ("t_00001", None, True)]


def test_a_searcher_without_an_end_is_asked_for_the_samples_only():
    class Ones(Searcher):
        def suggest(self, trial_id):
            return {"x": 1}

    bench = Bench(searcher=Ones(), limit=1)
    assert started(bench.tick()) == ["t_00000"]
    bench.done("t_00000", loss=1)
    assert bench.experiment.finished


@pytest.mark.parametrize(
    ("suggestion", "says"),
    [
        (None, "returned None while no trial is running"),
        (3, "must be a dict"),
        ({}, "left parts of param_space open: x"),
    ],
)
def test_a_searcher_that_errs_is_named(suggestion, says):
    class Bad(Searcher):
        def suggest(self, trial_id):
            return suggestion

    with pytest.raises(tune.TuneError, match=f"Bad.suggest.*{says}"):
        Bench(searcher=Bad()).tick()


def test_the_same_seed_gives_the_same_configs_at_any_concurrency():
    def configs(cpus, first_to_end):
        bench = Bench(samples=8, capacity={"CPU": cpus})
        bench.tick()
        while not bench.experiment.finished:
            running = [t for t in bench.experiment.get_trials() if t.status == "RUNNING"]
            bench.done(running[first_to_end].trial_id, loss=1)
        return [trial.config for trial in bench.experiment.get_trials()]

    assert configs(1, 0) == configs(4, 0) == configs(4, -1)


# Lots: short trials, one after the other in one place.


class Places:
    """Does what workers do with lots: which trials each place has, in order."""

    def __init__(self, bench, now=0.0):
        self.bench, self.now, self.places = bench, now, {}
        self.perform(bench.tick(now))

    def perform(self, commands):
        for command in commands:
            match command:
                case m.Start(trial, _, then):
                    first = (trial.trial_id, trial.attempt)
                    others = [(later.trial_id, later.attempt + 1) for later in then]
                    self.places[trial.trial_id] = [first, *others]
                case m.Stop(trial_id):
                    self.send(m.TrialDone(trial_id, self.places.pop(trial_id)[0][1], []))

    def send(self, *events):
        event = events[0] if len(events) == 1 else m.Together(events)
        self.perform(self.bench.send(event, self.now))

    def end(self, lead, count=None, goes_on=False, takes=2**-10):
        """The first of a lot end, each in so many seconds; the next one goes on, or nobody."""
        lot = self.places.pop(lead)
        count = len(lot) if count is None else count
        self.now += takes * count
        news = [m.TrialDone(*who, [m.Report({"loss": 1})]) for who in lot[:count]]
        if goes_on:
            self.places[lot[count][0]] = lot[count : count + 1]
            news += [m.Returned(*lot[count]), m.Reported(*lot[count], [])]
        elif count < len(lot):
            news.insert(-1, m.Returned(*lot[count - 1]))
        self.send(*news)

    def lose(self, lead):
        trial_id, attempt = self.places.pop(lead)[0]
        self.send(m.TrialLost(trial_id, attempt, OSError("gone")))

    def sizes(self):
        return sorted(map(len, self.places.values()))


def lots(samples=100, cpus=1, **fixed):
    places = Places(Bench(samples=samples, capacity={"CPU": cpus}, ahead=True, **fixed))
    while max(places.sizes()) < 4:
        places.end(next(iter(places.places)))
    return places


def test_trials_that_were_short_go_together_more_and_more():
    places = Places(Bench(samples=100, capacity={"CPU": 1}, ahead=True))
    sizes = []
    while places.places:
        sizes += places.sizes()
        places.end(next(iter(places.places)))
    assert sizes == [1, 2, 4, 8, 16, 30, 30, 9]
    assert places.bench.experiment.finished
    assert set(places.bench.status()) == {"TERMINATED"}


def test_trials_that_take_long_go_one_by_one():
    places = lots()
    places.end(*places.places, takes=0.5)
    assert places.sizes() == [1]


def test_a_lot_takes_the_room_of_one_trial_and_all_its_trials_wait_but_one():
    places = lots(cpus=2)
    assert places.bench.experiment.running == 2
    assert places.bench.status().count("RUNNING") == 2
    # One more waits for room, as ever.
    assert places.bench.status().count("PENDING") == sum(places.sizes()) - 2 + 1


def test_who_was_handed_back_runs_before_new_ones():
    places = lots()
    [lot] = places.places.values()
    places.end(*places.places, count=1, goes_on=True)
    assert list(places.places) == [lot[1][0]]
    places.end(*places.places)
    assert list(places.places) == [lot[2][0]]


def test_a_failure_in_a_lot_is_that_trials_alone():
    places = lots()
    [lot] = places.places.values()
    places.end(*places.places, count=1, goes_on=True)
    [(trial_id, attempt)] = places.places.pop(lot[1][0])
    places.send(m.TrialDone(trial_id, attempt, [], ValueError("no")))
    while places.places:
        places.end(next(iter(places.places)))
    assert places.bench.experiment.failed == 1


def test_when_the_process_of_a_lot_is_lost_each_runs_again_alone_and_nobody_is_blamed_yet():
    places = lots()
    [lot] = places.places.values()
    places.lose(*places.places)
    for trial_id, _ in lot:
        assert list(places.places) == [trial_id]
        assert places.sizes() == [1]
        if trial_id == lot[2][0]:
            places.lose(trial_id)
        else:
            places.end(trial_id)
    assert places.bench.experiment.failed == 1


def test_trials_behind_others_end_with_the_study_without_having_run():
    places = lots()
    places.send(m.Interrupted())
    assert places.bench.experiment.finished
    assert set(places.bench.status()) == {"TERMINATED"}


def test_trials_behind_others_that_an_interrupt_ended_are_there_for_a_restore():
    places = lots()
    [lot] = places.places.values()
    places.send(m.Interrupted())
    ends = {c.trial.trial_id: c.what for c in of(m.Snapshot, places.bench.commands)}
    assert {ends[trial_id] for trial_id, _ in lot} == {"interrupt"}


def test_trials_behind_one_whose_failure_ends_the_study_do_not_run():
    places = lots(cpus=2, fail_fast=True)
    lead = max(places.places, key=lambda one: len(places.places[one]))
    [(trial_id, attempt), *others] = places.places.pop(lead)
    places.send(m.TrialDone(trial_id, attempt, [], ValueError("no")))
    assert others
    assert not places.places
    assert places.bench.experiment.finished


def test_a_searcher_that_learns_is_not_asked_ahead():
    class Ones(Searcher):
        def suggest(self, trial_id):
            return {"x": 1}

    assert Ones.learns
    places = Places(Bench(searcher=Ones(), limit=20))
    while places.places:
        assert set(places.sizes()) == {1}
        places.end(next(iter(places.places)))


@given(
    seed=st.integers(0, 2**16),
    cpus=st.integers(1, 3),
    samples=st.integers(1, 60),
    max_failures=st.integers(0, 1),
)
@settings(max_examples=50, deadline=None)
def test_whatever_becomes_of_lots_every_trial_ends_once(seed, cpus, samples, max_failures):
    draw = random.Random(seed)
    bench = Bench(samples=samples, capacity={"CPU": cpus}, ahead=True, max_failures=max_failures)
    places = Places(bench)
    while places.places:
        lead = draw.choice(sorted(places.places))
        size = len(places.places[lead])
        match draw.randrange(10):
            case 0:
                places.lose(lead)
            case 1 if size > 1:
                places.end(lead, draw.randrange(size), goes_on=True)
            case 2 if size > 1:
                places.end(lead, draw.randrange(1, size))
            case 3 if seed % 5 == 0:
                places.send(m.Interrupted())
            case _:
                places.end(lead, takes=draw.choice([0.001, 0.02]))
    assert bench.experiment.finished
    ends = Counter(c.trial.trial_id for c in of(m.Snapshot, bench.commands) if c.what in _ENDS)
    assert set(ends.values()) <= {1}
    assert len(ends) == len(bench.experiment.get_trials())


def test_an_impossible_move_tells_the_story():
    bench = Bench()
    bench.tick()
    trial = bench.experiment.get_trial("t_00000")
    with pytest.raises(AssertionError, match=r"PENDING -> RUNNING \(attempt 1\)"):
        trial.move("PAUSED", "for no reason")


class Studies(RuleBasedStateMachine):
    """Any history of reports, ends, losses and interrupts keeps every invariant and comes to an end."""

    @initialize(
        samples=st.integers(1, 6),
        cpus=st.integers(1, 4),
        need=st.sampled_from([0, 0.5, 1]),
        max_failures=st.integers(-1, 2),
        fail_fast=st.booleans(),
        max_concurrent=st.integers(0, 2),
        keep=st.sampled_from([None, 1, 2]),
        budget=st.sampled_from([None, 5.0]),
        seed=st.integers(0, 99),
    )
    def begin(
        self, samples, cpus, need, max_failures, fail_fast, max_concurrent, keep, budget, seed
    ):
        self.now = 0.0
        self.awaited = {}
        self.bench = Bench(
            samples=samples,
            capacity={"CPU": cpus},
            request=lambda config: {"CPU": need} if need else {},
            scheduler=Say(),
            searcher=BasicVariantGenerator(random_state=seed, max_concurrent=3 if need == 0 else 0),
            max_failures=max_failures,
            fail_fast=fail_fast,
            max_concurrent=max_concurrent,
            keep=keep,
            time_budget_s=budget,
        )
        self.failures = Counter()
        self.perform(self.bench.tick())

    def perform(self, commands):
        for command in commands:
            match command:
                case m.Start(trial):
                    assert trial.trial_id not in self.awaited
                    self.awaited[trial.trial_id] = "running"
                case m.Stop(trial_id) | m.Pause(trial_id):
                    assert self.awaited[trial_id] == "running"
                    self.awaited[trial_id] = "stopping"
                case m.Continue(trial_id):
                    assert self.awaited[trial_id] == "running"

    def pick(self, data, state=None):
        ids = sorted(t for t, s in self.awaited.items() if state in (None, s))
        return data.draw(st.sampled_from(ids)) if ids else None

    @precondition(lambda self: "running" in self.awaited.values())
    @rule(
        data=st.data(), verdict=st.sampled_from(["CONTINUE", "STOP", "PAUSE"]), save=st.booleans()
    )
    def report(self, data, verdict, save):
        trial_id = self.pick(data, "running")
        saved = self.bench.experiment.get_trial(trial_id).saved
        path = f"{trial_id}/{saved}" if save else None
        self.perform(self.bench.report(trial_id, checkpoint=path, loss=1, verdict=verdict))

    @precondition(lambda self: self.awaited)
    @rule(data=st.data(), fails=st.booleans())
    def end(self, data, fails):
        trial_id = self.pick(data)
        del self.awaited[trial_id]
        self.perform(self.bench.done(trial_id, error=ValueError("no") if fails else None))

    @precondition(lambda self: self.awaited)
    @rule(data=st.data())
    def lose(self, data):
        trial_id = self.pick(data)
        del self.awaited[trial_id]
        self.perform(self.bench.lost(trial_id))

    @rule(data=st.data())
    def late_news(self, data):
        for trial in self.bench.experiment.get_trials():
            stale = m.TrialDone(trial.trial_id, trial.attempt - 1, [], None)
            self.perform(self.bench.send(stale, self.now))

    @rule(passes=st.floats(0, 3))
    def time_passes(self, passes):
        self.now += passes
        self.perform(self.bench.tick(self.now))

    @rule()
    def interrupt(self):
        self.perform(self.bench.send(m.Interrupted(), self.now))

    @invariant()
    def who_runs_is_awaited(self):
        running = {t.trial_id for t in self.bench.experiment.get_trials() if t.status == "RUNNING"}
        assert running == set(self.awaited)

    @invariant()
    def it_never_stands_still(self):
        experiment = self.bench.experiment
        assert self.awaited or experiment.finished

    def teardown(self):
        if not hasattr(self, "bench"):
            return
        for _ in range(200):
            if not self.awaited:
                break
            trial_id = next(iter(self.awaited))
            del self.awaited[trial_id]
            self.perform(self.bench.done(trial_id))
        assert self.bench.experiment.finished


TestStudies = Studies.TestCase
TestStudies.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_trial_whose_last_report_comes_before_its_end_ends_by_itself():
    bench = Bench(samples=1, metric="loss", mode="min")
    bench.tick()
    commands = bench.report("t_00000", acc=1, done=True)
    assert of(m.Continue, commands)
    assert not of(m.Stop, commands)
    bench.done("t_00000")
    assert "without reporting 'loss'" in str(bench.experiment.failure)


def test_nobody_is_as_good_as_those_who_never_decide():
    histories = []
    for fixed in ({}, {"scheduler": FIFOScheduler(), "stop": NoopStopper()}):
        bench = Bench(samples=5, max_failures=1, **fixed)
        bench.tick()
        bench.report("t_00000", loss=1)
        bench.lost("t_00001")
        for number in range(4):
            bench.done(f"t_{number:05d}", loss=number)
        bench.send(m.Interrupted())
        histories.append([repr(command) for command in bench.commands])
    assert histories[0] == histories[1]


def test_a_scheduler_that_is_made_of_fifo_decides():
    class Mine(FIFOScheduler):
        pass

    assert Bench(scheduler=Mine()).experiment.lockstep is True


def test_noop_stoppers_and_fifo_need_no_lockstep():
    assert Bench().experiment.lockstep is False
    assert Bench(scheduler=FIFOScheduler(), stop=NoopStopper()).experiment.lockstep is False
    assert Bench(scheduler=Say()).experiment.lockstep is True
    assert Bench(stop={"loss": 1}).experiment.lockstep is True
    assert NoopStopper().stop_all() is False
