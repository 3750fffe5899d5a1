"""A session on the inline engine, and studies that write below the test's own folder."""

import pytest

import heliostat
from heliostat import tune
from heliostat.tune import _messages as m
from heliostat.tune._experiment import Experiment
from heliostat.tune._study import Study
from heliostat.tune.search import BasicVariantGenerator
from heliostat.tune.stopper import NoopStopper


@pytest.fixture(scope="module", autouse=True)
def session(request):
    """Modules that set `ENGINE` get that engine; those that set it to None start none."""
    engine = getattr(request.module, "ENGINE", "inline")
    if engine is None:
        yield
        return
    heliostat.init(engine=engine, num_cpus=2)
    yield
    heliostat.shutdown()


@pytest.fixture
def run_study(tmp_path):
    """Run a Tuner quietly below tmp_path."""

    def run(trainable, param_space=None, run=None, **config):
        run_config = tune.RunConfig(**{"storage_path": str(tmp_path), "verbose": 0, **(run or {})})
        return tune.Tuner(
            trainable,
            param_space=param_space,
            tune_config=tune.TuneConfig(**config),
            run_config=run_config,
        ).fit()

    return run


class Simulation:
    """A study whose trials are a function `loss(config, age)`: no processes, one fixed order.

    A trial counts its age from its checkpoint, and saves itself when it is told to. `length` is the
    age at which a trial ends by itself. The trial that has reported least long ago goes last.
    """

    def __init__(self, scheduler, loss, samples=8, slots=2, length=40, space=None, save_every=0):
        self.loss, self.length, self.save_every = loss, length, save_every
        space = space or {"x": tune.uniform(0, 1)}
        searcher = BasicVariantGenerator(random_state=1)
        searcher.set_search_properties("loss", "min", space, num_samples=samples)
        scheduler.set_search_properties(None, None)
        self.study = Study(
            name="s",
            trainable_name="f",
            id_prefix="t",
            space=space,
            limit=None,
            capacity={"CPU": slots},
            request=lambda config: {"CPU": 1},
            keep=1,
        )
        self.experiment = Experiment(self.study, searcher, scheduler, NoopStopper())
        self.ages, self.there, self.queue = {}, {}, []
        # What happened: trial and age for every report, and all commands.
        self.reports, self.commands = [], []

    def run(self):
        self.send(m.Tick())
        while self.queue:
            trial_id = self.queue.pop(0)
            self.step(trial_id)
        assert self.experiment.finished
        return self

    def step(self, trial_id):
        trial = self.experiment.get_trial(trial_id)
        age = self.ages[trial_id]
        if age >= self.length:
            self.send(m.TrialDone(trial_id, trial.attempt, []))
            return
        self.ages[trial_id] = age = age + 1
        self.reports.append((trial_id, age))
        metrics = {"training_iteration": age, "loss": self.loss(trial.config, age)}
        path = self.save(trial) if self.save_every and age % self.save_every == 0 else None
        self.send(m.Reported(trial_id, trial.attempt, [m.Report(metrics, path)]))

    def save(self, trial):
        path = f"{trial.trial_id}/{trial.saved}"
        self.there[path] = self.ages[trial.trial_id]
        return path

    def send(self, event):
        commands = self.experiment.handle(event, 0.0)
        self.experiment.check()
        self.commands += commands
        for command in commands:
            self.perform(command)

    def perform(self, command):
        match command:
            case m.Start():
                trial = command.trial
                # What a trial begins at is still there.
                self.ages[trial.trial_id] = (
                    self.there[trial.resume_from] if trial.resume_from else 0
                )
                self.queue.append(trial.trial_id)
            case m.Continue():
                self.queue.append(command.trial_id)
            case m.Save():
                trial = self.experiment.get_trial(command.trial_id)
                self.send(m.Saved(trial.trial_id, trial.attempt, self.save(trial)))
            case m.Stop() | m.Pause():
                trial = self.experiment.get_trial(command.trial_id)
                if command.trial_id in self.queue:
                    self.queue.remove(command.trial_id)
                pauses = isinstance(command, m.Pause) and command.save
                path = self.save(trial) if pauses else None
                self.send(m.TrialDone(trial.trial_id, trial.attempt, [], None, path))
            case m.Delete():
                del self.there[command.path]

    def ages_of(self, trial_id):
        return [age for who, age in self.reports if who == trial_id]

    def exploits(self):
        return [c for c in self.commands if isinstance(c, m.Snapshot) and c.what == "exploit"]


@pytest.fixture
def simulate():
    """Run a study of simulated trials to its end."""

    def run(scheduler, loss, **settings):
        return Simulation(scheduler, loss, **settings).run()

    return run
