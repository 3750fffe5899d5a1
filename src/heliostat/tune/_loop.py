"""Loop: drives an Experiment with tasks or actors, its log and its callbacks. It decides nothing.

Where nobody will answer a trial, it is a task on whichever worker is warm, and streams what it says. Where
somebody may (a scheduler, a stopper), or it leaves something for the next (objects that are reused, what
libraries keep of a GPU), it is hosted by an actor, which then hosts others.
"""

import functools
import logging
import shutil
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle  # type: ignore[import-untyped]  # ships no annotations

import heliostat
from heliostat.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    WorkerCrashedError,
)
from heliostat.tune import _messages as m
from heliostat.tune import experiments
from heliostat.tune._display import Display
from heliostat.tune._experiment import Experiment
from heliostat.tune._metrics import look_up
from heliostat.tune._runnable import Runnable
from heliostat.tune._snapshot import CALLBACKS_FILE, Log, encode, write_policy, write_whole
from heliostat.tune._trial import Trial
from heliostat.tune._trial_actor import TrialActor, run_trials
from heliostat.tune.callback import Callback

if TYPE_CHECKING:
    from heliostat.tune._mirror import Mirror

_log = logging.getLogger("heliostat.tune")

# How long what was kept for a next trial may take to clean up.
_CLOSE_S = 10.0
_LONGEST_CURVE = 2000
_HOOKS = {
    "start": "on_trial_start",
    "complete": "on_trial_complete",
    "interrupt": "on_trial_complete",
    "error": "on_trial_error",
    "retry": "on_trial_recover",
}

_LOST = (RayActorError, WorkerCrashedError, NodeDiedError, OutOfMemoryError)
PATIENCE_S = 0.5  # how long idle actors stay beside one that has not begun
_AHEAD = 4  # a task may say so many things that the loop has not heard

_Holds = tuple[tuple[str, float], ...]


class _Slot(NamedTuple):
    """Where trials run: an actor, which can host any that holds the same; or a task, by what it says."""

    holds: _Holds
    actor: Any = None
    words: Any = None


class _Call(NamedTuple):
    """An answer of an actor, or the next word of a task, that is awaited."""

    trial_id: str
    attempt: int
    saves: bool = False
    # How many attempts it is about: others may run after the first in its place.
    orders: int = 1


class Loop:
    """Feeds an Experiment with what happens, and does what it says.

    Args:
        experiment: The decider.
        runnable: What trials run.
        experiment_name: The study's name.
        directory: The study's directory.
        log: Where to write down what happens.
        callbacks: Whom to tell.
        display: What people see.
        mirror: Copies the directory to where it is kept, if that is beyond this machine.
    """

    def __init__(
        self,
        experiment: Experiment,
        runnable: Runnable,
        experiment_name: str,
        directory: Path,
        log: Log,
        callbacks: Sequence[Callback],
        display: Display,
        mirror: "Mirror | None" = None,
    ) -> None:
        self._experiment = experiment
        self._runnable = runnable
        self._shipped = heliostat.put(runnable)
        self._name = experiment_name
        self._below = f"{directory}/"
        self._log = log
        self._callbacks = callbacks
        self._display = display
        self._mirror = mirror
        # Whether trials are answered, or leave something for others.
        self._talks = experiment.lockstep or getattr(runnable, "reuse", False)
        self._calls: dict[Any, _Call] = {}
        self._slots: dict[str, _Slot] = {}
        self._idle: list[_Slot] = []
        self._births: list[Any] = []  # of actors that may not have begun
        self._held_up_since: float | None = None  # by idle ones
        self._events: deque[m.Event] = deque([m.Tick()])
        self._iteration = 0
        # Whether Ctrl-C may come through now, and whether the decider knows of one.
        self._waiting = False
        self._told = False
        self._lost_work = False  # somebody was paused who had saved nothing
        self._curves: dict[str, deque[tuple[float, float]]] = {}

    def run(self) -> None:
        """Run the study to its end; Ctrl-C ends it early, a second one at once."""
        try:
            with experiments.LEDGER.entry(self._row), self._held_interrupts():
                while self._events or not self._experiment.finished:
                    self._step()
        finally:
            self._end()

    @contextmanager
    def _held_interrupts(self) -> Iterator[None]:
        """Let Ctrl-C come through while the loop waits only: half a step must not be lost."""
        before: Any = signal.getsignal(signal.SIGINT)
        ours = getattr(before, "__module__", "").startswith("heliostat.")
        # The user may have plans of their own for it; and threads cannot have any.
        theirs = before is not signal.default_int_handler and not ours
        if theirs or threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(signum: int, frame: FrameType | None) -> None:
            again, self._display.interrupted = self._display.interrupted, True
            if again or self._waiting:
                before(signum, frame)

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _step(self) -> None:
        if not self._events:
            self._wait()
        if self._display.interrupted and not self._told:
            self._told = True
            self._events.append(m.Interrupted())
        self._iteration += 1
        for callback in self._callbacks:
            callback.on_step_begin(self._iteration, self._experiment.get_trials())
        while self._events:
            event = self._events.popleft()
            for command in self._experiment.handle(event, time.monotonic()):
                self._perform(command)
        self._log.flush()
        if self._mirror is not None:
            self._mirror.update()
        self._display.update(self._experiment)
        for callback in self._callbacks:
            callback.on_step_end(self._iteration, self._experiment.get_trials())

    # Commands.

    def _perform(self, command: m.Command) -> None:
        match command:
            case m.Start():
                self._start(command)
            case m.Continue():
                _, actor, words = self._slots[command.trial_id]
                ref = words if actor is None else actor.next.remote(command.hold_at)
                self._call(command.trial_id, ref)
            case m.Stop():
                self._stop(command.trial_id, save=None)
            case m.Pause():
                self._stop(command.trial_id, save=command.save)
            case m.Save():
                slot = self._slots[command.trial_id]
                self._call(command.trial_id, slot.actor.save.remote(), saves=True)
            case m.Snapshot():
                self._record(command)
                self._announce(command)
            case m.Delete():
                self._log.append("delete", path=self._relative(command.path))
                self._log.flush()  # nothing refers to it any more, and the disk knows
                if self._mirror is not None:
                    self._mirror.delete(command.path)
                else:
                    shutil.rmtree(command.path, ignore_errors=True)

    def _start(self, start: m.Start) -> None:
        trial = start.trial
        request = trial.request or trial.base or self._runnable.request(trial.config)
        holds = tuple(sorted(request.bundles[0].items()))
        orders = [self._order(trial, trial.attempt, start.hold_at)]
        # Those after it have not begun, so their attempts are not counted yet.
        orders += [self._order(later, later.attempt + 1, start.hold_at) for later in start.then]
        if self._talks or any(name == "GPU" for name, _ in holds):
            slot = self._slot(holds)
            ref = slot.actor.start.remote(orders)
        else:
            wish = self._experiment.study.environment
            task = _task(holds, self._runnable.name)
            task = task if wish is None else task.options(runtime_env=wish)
            try:
                ref = task.remote(self._shipped, orders)
            except NotImplementedError:  # Ray's client (ray://...) has no streams
                self._talks = True
                self._start(start)
                return
            slot = _Slot(holds, words=ref)
        self._slots[trial.trial_id] = slot
        self._call(trial.trial_id, ref, orders=len(orders))

    def _order(self, trial: Trial, attempt: int, hold_at: float) -> m.Order:
        return m.Order(
            trial_id=trial.trial_id,
            attempt=attempt,
            trial_name=str(trial),
            experiment_name=self._name,
            experiment_tag=trial.experiment_tag,
            config=trial.config,
            path=trial.path,
            resources=dict(trial.resources),
            checkpoint=trial.resume_from,
            next_checkpoint=trial.saved,
            # Counts go on from what the checkpoint knew, or begin anew without one.
            last_result=trial.origin if trial.resume_from else {},
            hold_at=hold_at,
            chdir=self._experiment.study.chdir,
            log_files=self._experiment.study.log_files,
            beyond=trial.beyond,
        )

    def _slot(self, holds: _Holds) -> _Slot:
        for index, slot in enumerate(self._idle):
            if slot.holds == holds:
                return self._idle.pop(index)
        self._dismiss()  # idle actors of another size hold what this one may need
        options = _options(holds, self._experiment.study.environment)
        actor: Any = _ACTOR.options(**options).remote(self._shipped)
        self._births.append(actor.__ray_ready__.remote())
        return _Slot(holds, actor)

    def _dismiss(self) -> None:
        """End the actors that have nothing to do."""
        self._close_idle()
        while self._idle:
            heliostat.kill(self._idle.pop().actor)

    def _close_idle(self) -> None:
        """Let what they kept for a next trial clean up."""
        if self._idle and getattr(self._runnable, "reuse", False):
            closing = [slot.actor.close.remote() for slot in self._idle]
            heliostat.wait(closing, num_returns=len(closing), timeout=_CLOSE_S)

    def _give_way(self) -> float | None:
        """End idle actors that have long kept another from what it needs to begin.

        Somebody else's work may have what was free at the beginning.

        Returns:
            How long they may stay as things are; None if they keep nobody.
        """
        if self._idle and self._births:
            _, self._births = heliostat.wait(self._births, num_returns=len(self._births), timeout=0)
        if not (self._idle and self._births):
            self._held_up_since = None
            return None
        now = time.monotonic()
        if self._held_up_since is None:
            self._held_up_since = now
        left = self._held_up_since + PATIENCE_S - now
        if left > 0:
            return left
        self._dismiss()
        self._held_up_since = None
        return None

    def _call(self, trial_id: str, ref: Any, *, saves: bool = False, orders: int = 1) -> None:
        attempt = self._experiment.get_trial(trial_id).attempt
        self._calls[ref] = _Call(trial_id, attempt, saves, orders)

    def _stop(self, trial_id: str, *, save: bool | None) -> None:
        waiting = [ref for ref, call in self._calls.items() if call.trial_id == trial_id]
        slot = self._slots.get(trial_id)
        if slot is None:
            return  # its end has come already and is among the events
        if slot.actor is not None and not waiting:  # it waits for our answer, inside report()
            self._call(trial_id, slot.actor.stop.remote(save))
            return
        # In the middle of its work: nothing but the end of its process ends that.
        for ref in waiting:
            del self._calls[ref]
        attempt = self._experiment.get_trial(trial_id).attempt
        self._events.append(m.TrialDone(trial_id, attempt, []))
        _end(self._slots.pop(trial_id))

    # Events.

    def _wait(self) -> None:
        refs = list(self._calls)
        assert refs, "a study that is not finished waits for some trial"
        deadline, now = self._experiment.deadline, time.monotonic()
        left = (self._give_way(), None if deadline is None else max(0.0, deadline - now))
        timeout = min((one for one in left if one is not None), default=None)
        ready, rest = self._first(refs, timeout)
        if ready and rest:
            ready += heliostat.wait(rest, num_returns=len(rest), timeout=0)[0]
        for ref in ready:
            self._events.append(self._take(ref, self._calls.pop(ref)))
        if not ready:
            self._events.append(m.Tick())

    def _first(self, refs: list[Any], timeout: float | None) -> tuple[list[Any], list[Any]]:
        if self._display.interrupted and not self._told:
            return [], refs
        try:
            self._waiting = True
            return heliostat.wait(refs, num_returns=1, timeout=timeout)
        except KeyboardInterrupt:
            if self._told:
                raise  # the second
            self._display.interrupted = True
            return [], refs
        finally:
            self._waiting = False

    def _take(self, ref: Any, call: _Call) -> m.Event:
        trial_id, attempt, saves, orders = call
        slot = self._slots.pop(trial_id)
        try:
            updates: list[m.Update] = heliostat.get(ref if slot.words is None else next(ref))
        except _LOST as error:
            return m.TrialLost(trial_id, attempt, error)
        except RayError as error:
            if slot.actor is not None:  # what failed may have left anything behind in there
                _end(slot)
            return m.TrialDone(trial_id, attempt, [], error)
        last = updates[-1]
        if not last.done:
            self._slots[last.trial_id] = slot
        elif slot.actor is not None:
            self._idle.append(slot)
        else:  # so that its worker is free for the next
            next(ref, None)
        if saves:
            return m.Saved(trial_id, attempt, last.saved)
        if orders == 1:
            return _said(last)
        back = (m.Returned(last.trial_id, last.attempt),) if len(updates) < orders else ()
        return m.Together((*map(_said, updates[:-1]), *back, _said(last)))

    # Records.

    def _record(self, snapshot: m.Snapshot) -> None:
        what, trial, result, checkpoint, error, exploit = snapshot
        log = self._log
        match what:
            case "interrupt":
                pass  # on record it is under way, so that `Tuner.restore` goes on with it
            case "add":
                log.append(
                    "add",
                    trial=trial.trial_id,
                    name=str(trial),
                    tag=trial.experiment_tag,
                    path=self._relative(trial.path),
                    resources=trial.resources,
                    config=encode(trial.config),
                )
            case "result":
                kept = {} if checkpoint is None else {"path": self._relative(checkpoint)}
                log.append("result", trial=trial.trial_id, result=encode(result), **kept)
                self._note(trial, result)
            case "checkpoint":
                assert checkpoint is not None
                log.append(
                    "checkpoint",
                    trial=trial.trial_id,
                    path=self._relative(checkpoint),
                    result=encode(result),
                )
            case "exploit":
                assert exploit is not None
                log.append(
                    "exploit",
                    trial=trial.trial_id,
                    donor=exploit.donor,
                    path=None if checkpoint is None else self._relative(checkpoint),
                    config=encode(exploit.config),
                    tag=exploit.tag,
                )
                if exploit.policy is not None:
                    write_policy(Path(self._below), exploit.policy)
            case "error" | "retry":
                assert error is not None
                self._write_error(trial, error)
                log.append(what, trial=trial.trial_id, error=_encode_error(error))
            case _:
                log.append(what, trial=trial.trial_id)

    def _note(self, trial: Trial, result: dict[str, Any] | None) -> None:
        """Remember the metric, for those who look."""
        metric, curves = self._experiment.study.metric, self._curves
        if metric is None or result is None:
            return
        curve = curves.get(trial.trial_id)
        if curve is None:
            if len(curves) == experiments.CURVES:
                return
            curve = curves[trial.trial_id] = deque(maxlen=_LONGEST_CURVE)
        value = look_up(result, metric)
        if isinstance(value, (int, float)):
            curve.append((result.get("training_iteration", 0), value))

    def _row(self, over: bool) -> dict[str, Any]:
        where = self._below.rstrip("/")
        return experiments.row(self._experiment, self._name, where, self._curves, over)

    def _announce(self, snapshot: m.Snapshot) -> None:
        what, trial = snapshot.what, snapshot.trial
        for callback in self._callbacks:
            self._tell(callback, snapshot)
        if what in ("complete", "interrupt", "error"):
            self._keep_states()
        if what == "error":
            self._display.failed(trial)
        elif what in ("complete", "interrupt"):
            self._display.saw(trial)
        elif what == "pause" and trial.resume_from is None and trial.donor is None:
            self._warn_of_loss(trial)

    def _warn_of_loss(self, trial: Trial) -> None:
        if not self._lost_work:
            _log.warning(
                "trial %s is paused and has saved nothing, so it will begin anew: give "
                "tune.report(..., checkpoint=...) a checkpoint and begin at tune.get_checkpoint(), or "
                "take a scheduler that does not pause, such as ASHAScheduler. Said once",
                trial,
            )
        self._lost_work = True

    def _keep_states(self) -> None:
        states = [callback.get_state() for callback in self._callbacks]
        if any(state is not None for state in states):
            write_whole(Path(self._below, CALLBACKS_FILE), cloudpickle.dumps(states))

    def _tell(self, callback: Callback, snapshot: m.Snapshot) -> None:
        what, trial, result, checkpoint, *_ = snapshot
        trials = self._experiment.get_trials()
        if what == "result":
            assert result is not None
            callback.on_trial_result(self._iteration, trials, trial, result)
        if what in ("result", "checkpoint") and checkpoint is not None:
            callback.on_checkpoint(self._iteration, trials, trial, trial.at(checkpoint))
            callback.on_trial_save(self._iteration, trials, trial)
        elif what in _HOOKS:
            getattr(callback, _HOOKS[what])(self._iteration, trials, trial)
            if what == "start" and trial.resume_from is not None:
                callback.on_trial_restore(self._iteration, trials, trial)

    def _write_error(self, trial: Trial, error: BaseException) -> None:
        path = Path(trial.path)
        with suppress(OSError):  # the log has it too
            path.mkdir(parents=True, exist_ok=True)
            with (path / "error.txt").open("a", encoding="utf-8") as file:
                file.write("".join(traceback.format_exception(error)))
        with suppress(Exception):  # user values may refuse to be pickled: the text remains
            write_whole(path / "error.pkl", cloudpickle.dumps(error))

    def _relative(self, path: str) -> str:
        """Paths in the log are below the study's directory, so that it can be moved."""
        return path.removeprefix(self._below)

    def _end(self) -> None:
        self._close_idle()
        for slot in self._slots.values():
            _end(slot)
        # Those that have nothing to do end when nobody can call them any more.
        self._slots.clear()
        self._idle.clear()
        self._log.flush()


def _said(update: m.Update) -> m.Reported | m.TrialDone:
    trial_id, attempt, reports, done, saved = update
    if done:
        return m.TrialDone(trial_id, attempt, reports, None, saved)
    return m.Reported(trial_id, attempt, reports)


def _encode_error(error: BaseException) -> Any:
    text = "".join(traceback.format_exception(error))
    try:
        return {"text": text, "error": encode(error)}
    except Exception:  # noqa: BLE001 - user values may refuse to be pickled: the text remains
        return {"text": text, "error": None}


def _end(slot: _Slot) -> None:
    """End the process at once, with what runs in it."""
    if slot.actor is not None:
        heliostat.kill(slot.actor)
    else:
        heliostat.cancel(slot.words, force=True)


def _options(holds: _Holds, environment: Mapping[str, Any] | None) -> dict[str, Any]:
    options = dict(holds)
    return {
        "num_cpus": options.pop("CPU", 0),
        "num_gpus": options.pop("GPU", 0),
        "memory": options.pop("memory", None),
        "resources": options or None,
        "runtime_env": environment,
    }


_ACTOR = heliostat.remote(TrialActor)


@functools.lru_cache
def _task(holds: _Holds, name: str) -> Any:
    """The same for all studies: options are checked once."""
    # The study decides what is tried again.
    options = {**_options(holds, None), "name": name, "max_retries": 0}
    return heliostat.remote(run_trials).options(
        **options, _generator_backpressure_num_objects=_AHEAD
    )
