"""A study's log -> its trials, ready to go on. Pure but for reading the log."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from heliostat.tune._snapshot import decode, read_log
from heliostat.tune._trial import ERROR, PAUSED, PENDING, RUNNING, TERMINATED, Trial
from heliostat.tune.error import TuneError
from heliostat.tune.search import BasicVariantGenerator, ConcurrencyLimiter, Searcher

Errored = Literal["skip", "resume", "restart"]
_STATES = {
    "start": RUNNING,
    "retry": PENDING,
    "pause": PAUSED,
    "complete": TERMINATED,
    "error": ERROR,
}


@dataclass(frozen=True)
class Resumed:
    """A study that was cut short, and what to do with its trials."""

    log: Path
    id_prefix: str
    resume_unfinished: bool
    errored: Errored

    def trials(self, directory: Path, trainable_name: str) -> list[Trial]:
        """The trials as they were, each in the state in which it goes on."""
        found: dict[str, Trial] = {}
        for record in read_log(self.log):
            if record["kind"] == "add":
                found[record["trial"]] = _added(record, directory, trainable_name)
            elif "trial" in record:
                _replay(found[record["trial"]], record, directory)
            elif record["kind"] == "delete":
                _forget(found, str(directory / record["path"]))
        for trial in found.values():
            self._settle(trial)
        return list(found.values())

    def _settle(self, trial: Trial) -> None:
        if trial.state == TERMINATED:
            return
        if trial.state == ERROR:
            if self.errored == "skip":
                return
            if self.errored == "restart":
                trial.checkpoint, trial.checkpoints = None, []
                trial.last_result = {}
            trial.num_failures = 0
        elif not self.resume_unfinished:
            trial.state = TERMINATED
            return
        elif trial.checkpoint is None:
            trial.last_result = {}  # nothing to go on from: it counts from one again
        trial.error = None
        trial.state = PENDING


def read(log: Path, *, resume_unfinished: bool, errored: Errored) -> Resumed:
    """Look at a log.

    Args:
        log: The newest one of the study.
        resume_unfinished: Whether trials that had not ended go on.
        errored: What becomes of failed trials.

    Returns:
        What `Tuner.fit` needs to go on.

    Raises:
        TuneError: It has no beginning.
    """
    first = next(read_log(log), None)
    if first is None or first["kind"] != "begin":
        raise TuneError(f"{log} has no beginning: the study was killed before it started")
    return Resumed(log, first["id_prefix"], resume_unfinished, errored)


def catch_up(searcher: Searcher, trials: list[Trial]) -> None:
    """Bring a fresh searcher to where it was: what it proposed before is not proposed again.

    Args:
        searcher: The searcher, which knows the space already.
        trials: What it proposed, in order.

    Raises:
        NotImplementedError: It does not propose the same again.
    """
    inner = searcher.searcher if isinstance(searcher, ConcurrencyLimiter) else searcher
    if not isinstance(inner, BasicVariantGenerator):
        raise NotImplementedError(
            f"a study with {type(inner).__name__} cannot be taken up again yet; only random and grid "
            "search can. Its results are there: Tuner.restore(...).get_results()"
        )
    limit, inner.max_concurrent = inner.max_concurrent, 0
    for trial in trials:
        inner.suggest(trial.trial_id)
    inner.max_concurrent = limit
    for trial in trials:
        if trial.is_finished():
            inner.on_trial_complete(trial.trial_id, trial.last_result)


def _added(record: dict[str, Any], directory: Path, trainable_name: str) -> Trial:
    return Trial(
        trial_id=record["trial"],
        trainable_name=trainable_name,
        config=decode(record["config"]),
        experiment_tag=record["tag"],
        path=str(directory / record["path"]),
        resources=record["resources"],
        name=record["name"],
    )


def _replay(trial: Trial, record: dict[str, Any], directory: Path) -> None:
    kind = record["kind"]
    if kind == "result":
        trial.last_result = decode(record["result"])
        return
    if kind == "checkpoint":
        trial.checkpoint = str(directory / record["path"])
        trial.checkpoints.append((trial.checkpoint, decode(record["result"])))
        trial.saved += 1
        return
    trial.state = _STATES[kind]
    if kind == "start":
        trial.attempt += 1
    if kind in ("error", "retry"):
        trial.num_failures += 1
        failure = record["error"]
        trial.error = decode(failure["error"]) or TuneError(failure["text"])


def _forget(trials: dict[str, Trial], path: str) -> None:
    for trial in trials.values():
        trial.checkpoints = [kept for kept in trial.checkpoints if kept[0] != path]
