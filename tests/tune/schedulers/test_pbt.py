"""Population based training: who takes over from whom, with what, and that nothing is lost by it."""

import json
import math
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat import train, tune
from heliostat.tune import _messages as m
from heliostat.tune._trial import RUNNING, Trial
from heliostat.tune.schedulers import PopulationBasedTraining, PopulationBasedTrainingReplay
from heliostat.tune.schedulers._explore import Explorer, fill

LR = [0.1, 0.2, 0.4, 0.8]


def make(**given):
    return PopulationBasedTraining(
        **{
            "time_attr": "training_iteration",
            "metric": "loss",
            "mode": "min",
            "perturbation_interval": 4,
            "hyperparam_mutations": {"x": tune.uniform(0, 1)},
            **given,
        }
    )


def loss(config, age):
    return abs(config["x"] - 0.5) - age / 1000


# A plain reference: the rules of population based training over a list of reports.


def reference(trace, rng, *, interval, burn_in, fraction, mutations, resample, factors):
    """What each report of a trace leads to: None, or the donor and the new config."""
    configs, scores, turns, out = {}, {}, {}, []
    for who, age, score, config in trace:
        configs.setdefault(who, config)
        turns.setdefault(who, 0)
        out.append(None)
        if age < burn_in or age - turns[who] < interval:
            continue
        scores[who], turns[who] = score, age
        ranked = sorted(scores, key=lambda one: (scores[one], list(configs).index(one)))
        count = min(math.ceil(len(ranked) * fraction), len(ranked) // 2)
        if not count or who not in ranked[:count]:
            continue
        donor = rng.choice(ranked[-count:])
        new = dict(configs[donor])
        for name, values in mutations.items():
            if rng.random() < resample or new[name] not in values:
                new[name] = rng.choice(values)
            else:
                place = values.index(new[name]) + rng.choice((-1, 1))
                new[name] = values[max(0, min(len(values) - 1, place))]
        configs[who], scores[who], turns[who] = new, scores[donor], turns[donor]
        out[-1] = (donor, new)
    return out


class Recorder:
    """The study as a scheduler sees it: all trials run, all have saved themselves."""

    def __init__(self, trials):
        self.trials, self.exploits = trials, []

    def get_live_trials(self):
        return self.trials

    def exploit(self, trial, exploit):
        trial.config = exploit.config
        self.exploits.append((exploit.donor, exploit.config))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(-5, 5)), min_size=20, max_size=200),
    st.sampled_from([0.1, 0.25, 0.5]),
    st.integers(0, 2**32),
)
def test_decisions_on_a_recorded_trace_equal_the_plain_reference(steps, fraction, seed):
    random.seed(seed)
    pbt = make(
        mode="max",
        hyperparam_mutations={"lr": LR},
        quantile_fraction=fraction,
        burn_in_period=2,
        perturbation_interval=3,
    )
    trials = [Trial(f"t{n}", "f", {"lr": LR[n % 4]}, f"{n}", "/x", {}) for n in range(6)]
    study = Recorder(trials)
    for trial in trials:
        trial.state, trial.resume_from = RUNNING, "/x/c"
        pbt.on_trial_add(study, trial)
    # The draws that follow are the reference's, too.
    rng = random.Random()
    rng.setstate(pbt._rng.getstate())
    start = [(trial.trial_id, 0, 0.0, dict(trial.config)) for trial in trials]
    ages, trace, decided = dict.fromkeys(range(6), 0), [], []
    for n, score in steps:
        ages[n] += 1
        before, turn = len(study.exploits), pbt.next_turn(trials[n])
        verdict = pbt.on_trial_result(
            study, trials[n], {"training_iteration": ages[n], "loss": score}
        )
        trace.append((f"t{n}", ages[n], score, None))
        decided.append(study.exploits[-1] if len(study.exploits) > before else None)
        assert (verdict == "PAUSE") == (decided[-1] is not None)
        assert verdict == "CONTINUE" or ages[n] >= turn
    expected = reference(
        [*start, *trace],
        rng,
        interval=3,
        burn_in=2,
        fraction=fraction,
        mutations={"lr": LR},
        resample=0.25,
        factors=(1.2, 0.8),
    )
    assert decided == expected[len(start) :]


@pytest.mark.parametrize("synch", [False, True])
@pytest.mark.parametrize("slots", [1, 3, 8])
def test_every_trial_runs_to_its_end_and_no_step_is_lost(simulate, synch, slots):
    ran = simulate(make(synch=synch), loss, slots=slots)
    exploited = {snapshot.trial.trial_id for snapshot in ran.exploits()}
    assert exploited
    for trial in ran.experiment.get_trials():
        ages = ran.ages_of(trial.trial_id)
        assert trial.status == "TERMINATED"
        # Or its donor had come to the end already.
        assert 40 in (ages[-1], ran.there.get(trial.resume_from))
        if trial.trial_id not in exploited:
            assert ages == list(range(1, 41))
    # Kept is one checkpoint a trial, as `num_to_keep` says, and what a trial's end goes back to.
    trials = ran.experiment.get_trials()
    kept = {path for trial in trials for path, _ in trial.checkpoints}
    assert set(ran.there) == kept | {trial.loan for trial in trials if trial.loan}


def test_a_trial_that_takes_over_has_the_config_and_age_of_its_donor(simulate):
    ran = simulate(make(), loss)
    snapshot = ran.exploits()[0]
    started = [c for c in ran.commands if isinstance(c, m.Start) and c.trial is snapshot.trial]
    assert len(started) >= 2
    assert snapshot.exploit.donor != snapshot.trial.trial_id
    assert snapshot.exploit.tag.startswith(snapshot.trial.experiment_tag.split("@")[0])
    assert "@perturbed[x=" in snapshot.exploit.tag


def test_the_population_gets_better(simulate):
    random.seed(3)
    ran = simulate(make(), loss, samples=12, length=80)
    alone = simulate(tune.schedulers.FIFOScheduler(), loss, samples=12, length=80)

    def mean(study):
        trials = study.experiment.get_trials()
        return sum(trial.last_result["loss"] for trial in trials) / len(trials)

    assert mean(ran) < mean(alone)


def test_nobody_takes_over_from_a_trial_that_has_saved_nothing_and_it_is_said_once(caplog):
    pbt = make()
    trials = [Trial(f"t{n}", "f", {"x": 0.5}, f"{n}", "/x", {}) for n in range(4)]
    study = Recorder(trials)
    for trial in trials:
        trial.state = RUNNING
        pbt.on_trial_add(study, trial)
    for value, trial in enumerate(trials):
        pbt.on_trial_result(study, trial, {"training_iteration": 4, "loss": value})
    assert study.exploits == []
    for trial in trials:
        pbt.on_trial_result(study, trial, {"training_iteration": 8, "loss": 3})
    (said,) = caplog.messages
    assert "which has saved nothing: give tune.report(..., checkpoint=...)" in said


def test_the_best_are_asked_to_save_themselves():
    pbt = make()
    trials = [Trial(f"t{n}", "f", {"x": 0.5}, f"{n}", "/x", {}) for n in range(2)]
    study = Recorder(trials)
    for trial in trials:
        trial.state = RUNNING
        pbt.on_trial_add(study, trial)
    pbt.on_trial_result(study, trials[0], {"training_iteration": 4, "loss": 2})
    last = {"training_iteration": 4, "loss": 1}
    assert pbt.on_trial_result(study, trials[1], last) == "SAVE"


def test_what_a_config_lacks_is_drawn():
    config = {"a": 1, "in": {}}
    mutations = {"a": [5], "b": [7], "c": lambda: 8, "in": {"d": tune.randint(3, 4)}}
    fill(config, mutations, random.Random(0))
    assert config == {"a": 1, "b": 7, "c": 8, "in": {"d": 3}}


def test_numbers_are_scaled_lists_stepped_and_the_rest_drawn():
    explorer = Explorer(
        {"f": tune.uniform(0, 1), "i": tune.randint(0, 9), "l": [1, 2, 3], "s": lambda: "new"},
        resample=0,
        factors=(2, 2),
        custom=None,
        rng=random.Random(0),
    )
    donor = {"f": 0.25, "i": 3, "l": 2, "s": "old", "other": [1]}
    new, changes = explorer.change(donor)
    assert (new["f"], new["i"], new["s"], new["other"]) == (0.5, 6, "new", [1])
    assert new["l"] in (1, 3)
    assert changes.startswith("f=0.5,i=6,l=")
    assert donor == {"f": 0.25, "i": 3, "l": 2, "s": "old", "other": [1]}


def test_the_custom_function_has_the_last_word():
    def custom(config):
        return {**config, "x": 0.125}

    explorer = Explorer({"x": [1, 2]}, 0, (1.2, 0.8), custom, random.Random(0))
    assert explorer.change({"x": 1})[0] == {"x": 0.125}
    explorer = Explorer({}, 0, (1.2, 0.8), lambda config: None, random.Random(0))
    with pytest.raises(ValueError, match="must return a config"):
        explorer.change({})


def test_a_report_without_the_metric_is_an_error_unless_told_otherwise():
    trial = Trial("t", "f", {"x": 1}, "0", "/x", {})
    for require in (True, False):
        pbt = make(require_attrs=require)
        pbt.on_trial_add(None, trial)
        if require:
            with pytest.raises(RuntimeError, match="reported no 'loss'"):
                pbt.on_trial_result(None, trial, {"training_iteration": 1})
        else:
            assert pbt.on_trial_result(None, trial, {"training_iteration": 1}) == "CONTINUE"


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"hyperparam_mutations": {}}, tune.TuneError, "nothing to change"),
        ({"hyperparam_mutations": {"lr": 3}}, ValueError, r"\['lr'\] must be a list"),
        ({"hyperparam_mutations": {"a": {"b": []}}}, ValueError, r"\['a'\]\['b'\] is empty"),
        ({"quantile_fraction": 0.6}, ValueError, "0.6"),
        ({"resample_probability": 2}, ValueError, r"resample_probability must be in \[0, 1\]"),
        ({"perturbation_interval": 0}, ValueError, "perturbation_interval"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, error, says):
    with pytest.raises(error, match=says):
        make(**given)


class Walker(tune.Trainable):
    def setup(self, config):
        self.x = 0.0

    def step(self):
        self.x += self.config["speed"]
        return {"loss": -self.x}

    def save_checkpoint(self, checkpoint_dir):
        return {"x": self.x}

    def load_checkpoint(self, checkpoint):
        self.x = checkpoint["x"]


def population(run_study, **given):
    random.seed(1)
    return run_study(
        Walker,
        {"speed": tune.grid_search([1.0, 2.0, 3.0, 4.0])},
        run={"stop": {"training_iteration": 12}},
        metric="loss",
        mode="min",
        scheduler=PopulationBasedTraining(
            time_attr="training_iteration",
            perturbation_interval=3,
            hyperparam_mutations={"speed": [1.0, 2.0, 3.0, 4.0]},
            **given,
        ),
    )


@pytest.mark.parametrize("synch", [False, True])
def test_a_study_with_it_goes_on_from_donors_and_writes_its_policies(run_study, tmp_path, synch):
    grid = population(run_study, synch=synch)
    assert grid.num_terminated == 4
    assert {result.metrics["training_iteration"] for result in grid} == {12}
    # Who takes over from a faster one has gone further than by itself.
    assert min(grid[0].metrics["loss"], grid[1].metrics["loss"]) < -24
    [study] = [path for path in tmp_path.iterdir() if path.is_dir()]
    lines = (study / "pbt_global.txt").read_text().splitlines()
    assert lines
    target, donor, *ages, old, new = json.loads(lines[0])
    assert old.keys() == new.keys() == {"speed"}
    own = (study / f"pbt_policy_{target[0]}.txt").read_text().splitlines()
    assert lines[0] in own
    assert len(ages) == 2
    assert donor != target


def test_the_ranks_of_a_trainer_go_on_from_the_donors_checkpoint(run_study, tmp_path):
    def loop(config):
        last = train.get_checkpoint()
        x = begun = 0.0 if last is None else float(Path(last.path, "x").read_text())
        while True:
            x += config["speed"]
            saved = Path(tempfile.mkdtemp(dir=tmp_path))
            (saved / "x").write_text(str(x))
            train.report({"loss": -x, "begun": begun}, checkpoint=train.Checkpoint(saved))

    random.seed(1)
    [slow, fast] = run_study(
        train.DataParallelTrainer(loop),
        {"train_loop_config": {"speed": tune.grid_search([1.0, 100.0])}},
        run={"stop": {"training_iteration": 8}},
        metric="loss",
        mode="min",
        scheduler=PopulationBasedTraining(
            time_attr="training_iteration",
            perturbation_interval=2,
            quantile_fraction=0.5,
            hyperparam_mutations={"train_loop_config": {"speed": [1.0, 100.0]}},
            synch=True,
        ),
    )
    assert fast.metrics["training_iteration"] == slow.metrics["training_iteration"] == 8
    # By itself the slow one would go on from 2.
    assert list(dict.fromkeys(report["begun"] for report in slow.history))[:2] == [0, 200]


def test_a_replay_trains_one_trial_along_a_policy(run_study, tmp_path):
    population(run_study)
    [study] = [path for path in tmp_path.iterdir() if path.is_dir()]
    policy = sorted(study.glob("pbt_policy_*.txt"))[0]
    lines = [json.loads(line) for line in policy.read_text().splitlines()]
    replay = PopulationBasedTrainingReplay(policy)
    [result] = run_study(Walker, run={"stop": {"training_iteration": 12}}, scheduler=replay)
    speeds, changes = [], [(line[3], line[5]["speed"]) for line in lines]
    speed = lines[0][4]["speed"]
    for age in range(12):
        while changes and age >= changes[0][0]:
            speed = changes.pop(0)[1]
        speeds.append(speed)
    assert result.metrics["loss"] == -sum(speeds)
    assert result.config["speed"] == speeds[-1]


def test_a_replay_is_for_one_trial_and_needs_its_file(tmp_path):
    with pytest.raises(ValueError, match="no policy file"):
        PopulationBasedTrainingReplay(tmp_path / "none.txt")
    bad = tmp_path / "bad.txt"
    bad.write_text("[1]\n")
    with pytest.raises(ValueError, match="is no policy file"):
        PopulationBasedTrainingReplay(bad)
    bad.write_text(json.dumps(["0", "1", 1, 1, {"x": 1}, {"x": 2}]))
    replay = PopulationBasedTrainingReplay(bad)
    replay.on_trial_add(None, Trial("a", "f", {}, "0", "/x", {}))
    with pytest.raises(ValueError, match="trains one trial"):
        replay.on_trial_add(None, Trial("b", "f", {}, "1", "/x", {}))
