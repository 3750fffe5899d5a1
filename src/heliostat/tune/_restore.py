"""A study's log -> its trials, ready to go on, and searcher, scheduler and stopper as they were.

These three are not stored: they are told everything again in the order in which it happened, and decide
the same again. What they decided last, and a kill kept from being done, is done now.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from heliostat.tune._messages import Exploit
from heliostat.tune._snapshot import decode, read_log
from heliostat.tune._trial import ERROR, PAUSED, PENDING, RUNNING, TERMINATED, Trial
from heliostat.tune.error import TuneError
from heliostat.tune.schedulers.trial_scheduler import TrialScheduler
from heliostat.tune.search import Searcher, _space
from heliostat.tune.stopper import Stopper

Errored = Literal["skip", "resume", "restart"]
_STATES = {
    "start": RUNNING,
    "retry": PENDING,
    "pause": PAUSED,
    "complete": TERMINATED,
    "error": ERROR,
}


@dataclass(frozen=True)
class Deciders:
    """Those who decided about a study, as they were before it began, and what they need to know."""

    space: Mapping[str, Any]
    capacity: Mapping[str, float]
    searcher: Searcher
    scheduler: TrialScheduler
    stopper: Stopper


@dataclass(frozen=True)
class Resumed:
    """A study that was cut short, and what to do with its trials."""

    log: Path
    id_prefix: str
    unfinished: Errored
    errored: Errored
    finished: Errored = "skip"

    def trials(self, directory: Path, trainable_name: str) -> list[Trial]:
        """The trials as they were, each in the state in which it goes on."""
        replay = _Replay(directory, trainable_name)
        for record in read_log(self.log):
            replay.take(record)
        for trial in replay.get_trials():
            _settle(trial, **self.record())
        return replay.get_trials()

    def take_up(
        self, directory: Path, trainable_name: str, deciders: Deciders
    ) -> tuple[list[Trial], list[Trial]]:
        """Bring the deciders to where they were.

        Args:
            directory: The study's.
            trainable_name: Of what is tuned.
            deciders: Fresh ones.

        Returns:
            The trials, each in the state in which it goes on, and those of them whose end is not in
            the log.

        Raises:
            NotImplementedError: The searcher proposes something else the second time.
        """
        replay = _Retold(directory, trainable_name, deciders)
        for record in read_log(self.log):
            replay.take(record)
        replay.rest()
        before = {trial for trial in replay.get_trials() if trial.is_finished()}
        for trial in replay.get_trials():
            if trial.trial_id in replay.doomed and not trial.is_finished():
                trial.state = TERMINATED
            _settle(trial, **self.record())
        ended = [t for t in replay.get_trials() if t.state == TERMINATED and t not in before]
        for trial in ended:
            replay.complete(trial)
        return replay.get_trials(), ended

    def record(self) -> dict[str, str]:
        """What the log must know of it, for whoever takes the study up once more."""
        return {"unfinished": self.unfinished, "errored": self.errored, "finished": self.finished}


def read(log: Path, unfinished: Errored, errored: Errored, finished: Errored = "skip") -> Resumed:
    """Look at a log.

    Args:
        log: The newest one of the study.
        unfinished: What becomes of trials that had not ended: they count as ended ("skip"), go on from
            their checkpoints ("resume") or from the beginning ("restart").
        errored: What becomes of failed trials.
        finished: What becomes of trials that ended well.

    Returns:
        What `Tuner.fit` needs to go on.

    Raises:
        TuneError: It has no beginning.
    """
    first = next(read_log(log), None)
    if first is None or first["kind"] != "begin":
        raise TuneError(f"{log} has no beginning: the study was killed before it started")
    return Resumed(log, first["id_prefix"], unfinished, errored, finished)


def _settle(trial: Trial, unfinished: str, errored: str, finished: str) -> None:
    """Bring a trial from where it was into the state in which it goes on."""
    match trial.state:
        case "TERMINATED":
            what = finished
        case "ERROR":
            what = errored
            trial.num_failures = 0 if what != "skip" else trial.num_failures
        case _:
            what = unfinished
    if what == "skip":
        if not trial.is_finished():
            trial.state = TERMINATED
        return
    if what == "restart":
        trial.resume_from, trial.checkpoints, trial.loan = None, [], None
    if trial.resume_from is None:
        trial.last_result = {}  # nothing to go on from: it counts from one again
    trial.error = None
    if trial.state != PAUSED:
        trial.state = PENDING


class _Replay:
    """Trials as a log says."""

    def __init__(self, directory: Path, trainable_name: str) -> None:
        self._directory = directory
        self._trainable_name = trainable_name
        self._trials: dict[str, Trial] = {}

    def get_trials(self) -> list[Trial]:
        """All trials so far."""
        return list(self._trials.values())

    def take(self, record: dict[str, Any]) -> None:
        """Take in the next record."""
        match record["kind"]:
            case "add":
                trial = self._added(record)
                self._trials[trial.trial_id] = trial
                self._add(trial)
            case "restore":
                how = {name: record[name] for name in ("unfinished", "errored", "finished")}
                self._taken_up(how)
            case "delete":
                self._forget(str(self._directory / record["path"]))
            case kind if "trial" in record:
                self._happen(self._trials[record["trial"]], kind, record)

    def _taken_up(self, how: dict[str, str]) -> None:
        """The study was taken up after a kill: those that ran wait again."""
        for trial in self._trials.values():
            _settle(trial, **how)

    def _add(self, trial: Trial) -> None:
        """A trial was proposed."""

    def _happen(self, trial: Trial, kind: str, record: dict[str, Any]) -> None:
        match kind:
            case "result" | "checkpoint":
                result = decode(record["result"])
                if kind == "result":
                    trial.last_result = result
                if "path" in record:
                    trial.keep(str(self._directory / record["path"]), result)
                    trial.loan = None
            case "exploit":
                config, tag = decode(record["config"]), record["tag"]
                self.exploit(trial, Exploit(record["donor"], config, tag))
                if record["path"] is not None:
                    trial.take_over(self._trials[record["donor"]])
            case "start":
                if trial.donor is not None:
                    trial.take_over(self._trials[trial.donor])
                if trial.request is not None:
                    trial.resources = trial.request.required_resources
                trial.attempt += 1
            case "error" | "retry":
                failure = record["error"]
                trial.num_failures += 1
                trial.error = decode(failure["error"]) or TuneError(failure["text"])
        trial.state = _STATES.get(kind, trial.state)

    def exploit(self, trial: Trial, exploit: Exploit) -> None:
        """A trial has another configuration from its next attempt on."""
        trial.config, trial.experiment_tag = exploit.config, exploit.tag
        trial.donor = exploit.donor

    def _forget(self, path: str) -> None:
        for trial in self._trials.values():
            trial.checkpoints = [kept for kept in trial.checkpoints if kept[0] != path]

    def _added(self, record: dict[str, Any]) -> Trial:
        return Trial(
            trial_id=record["trial"],
            trainable_name=self._trainable_name,
            config=decode(record["config"]),
            experiment_tag=record["tag"],
            path=str(self._directory / record["path"]),
            resources=record["resources"],
            name=record["name"],
        )


class _Retold(_Replay):
    """A replay that tells the deciders, and is the study to the scheduler meanwhile."""

    def __init__(self, directory: Path, trainable_name: str, deciders: Deciders) -> None:
        super().__init__(directory, trainable_name)
        self._space = deciders.space
        self._capacity = deciders.capacity
        self._searcher = deciders.searcher
        self._scheduler = deciders.scheduler
        self._stopper = deciders.stopper
        # Trials that were to be stopped or paused, if nothing is heard of them after that.
        self.doomed: set[str] = set()
        self._resting: set[str] = set()
        self._choosing = False

    def get_live_trials(self) -> list[Trial]:
        """Those that have not ended."""
        return [trial for trial in self._trials.values() if not trial.is_finished()]

    def get_waiting_trials(self) -> list[Trial]:
        """Those that may run now, pending ones before paused ones."""
        waiting = [t for t in self._trials.values() if t.state in (PENDING, PAUSED)]
        return sorted(waiting, key=lambda trial: trial.state == PAUSED)

    def get_capacity(self) -> Mapping[str, float]:
        """The resources of the cluster."""
        return self._capacity

    def exploit(self, trial: Trial, exploit: Exploit) -> None:
        """A trial has another configuration; what is decided before a start is on record before it."""
        if not self._choosing:
            super().exploit(trial, exploit)

    def stop_trial(self, trial: Trial) -> None:
        """It ends, unless the log knows better."""
        self.doomed.add(trial.trial_id)

    def set_resources(self, trial: Trial, request: Any, total: Mapping[str, float]) -> None:
        """A trial has other resources from its next attempt on."""
        trial.request = request

    def _taken_up(self, how: dict[str, str]) -> None:
        """Those whose end was due are on record as ended next; the others wait again."""
        self.rest()
        for trial in self._trials.values():
            if trial.is_finished() or trial.trial_id not in self.doomed:
                _settle(trial, **how)

    def rest(self) -> None:
        """Those that a kill kept from being paused count as paused, if they have a checkpoint."""
        for trial in self._trials.values():
            if trial.trial_id in self._resting and trial.state == RUNNING and trial.resume_from:
                trial.state = PAUSED

    def _add(self, trial: Trial) -> None:
        """Let searcher and scheduler see it as it was proposed: both may draw from their randomness."""
        recorded = trial.config
        suggestion = self._searcher.suggest(trial.trial_id)
        if not isinstance(suggestion, Mapping):
            raise self._other(trial, suggestion)
        trial.config = _space.preset(self._space, suggestion)
        self._scheduler.on_trial_add(self, trial)
        again, before = (_space.chosen(self._space, c) for c in (trial.config, recorded))
        if repr(again) != repr(before):
            raise self._other(trial, suggestion)
        trial.config = recorded

    def _other(self, trial: Trial, suggestion: Any) -> NotImplementedError:
        return NotImplementedError(
            f"a study with {type(self._searcher).__name__} cannot be taken up again: for trial "
            f"{trial.trial_id} it proposes {suggestion!r} now, which is not what it proposed then. "
            "Give it a seed, if it takes one. The results so far are there: "
            "Tuner.restore(...).get_results()"
        )

    def _happen(self, trial: Trial, kind: str, record: dict[str, Any]) -> None:
        if kind == "start":
            self._choosing = True
            self._scheduler.choose_trial_to_run(self)
            self._choosing = False
            self._resting.discard(trial.trial_id)
        super()._happen(trial, kind, record)
        match kind:
            case "result":
                self._judge(trial)
            case "complete":
                self.complete(trial)
            case "error":
                last = trial.last_result or None
                self._searcher.on_trial_complete(trial.trial_id, last, error=True)
                self._scheduler.on_trial_error(self, trial)

    def _judge(self, trial: Trial) -> None:
        self.doomed.discard(trial.trial_id)
        result = trial.last_result
        self._searcher.on_trial_result(trial.trial_id, result)
        verdict = TrialScheduler.STOP
        if not self._stopper(trial.trial_id, result):
            verdict = TrialScheduler.CONTINUE
            if not result.get("done"):
                verdict = self._scheduler.on_trial_result(self, trial, result)
        if verdict == TrialScheduler.STOP:
            self.doomed.add(trial.trial_id)
        elif verdict == TrialScheduler.PAUSE:
            self._resting.add(trial.trial_id)

    def complete(self, trial: Trial) -> None:
        """A trial ended well."""
        if trial.last_result:
            trial.last_result["done"] = True
        self._searcher.on_trial_complete(trial.trial_id, trial.last_result or None)
        self._scheduler.on_trial_complete(self, trial, trial.last_result)
