"""What a trial talks to: report, get_checkpoint, get_context.

A Session is one attempt's end of the conversation with its actor. The user's code runs in a thread
and calls `report`; the actor's calls wait for what it says. Reports are gathered and the code goes on at
once, up to the iteration at which `report` must wait for the study's answer, if there is one. It does
not know how the answers travel.
"""

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from heliostat.train import Checkpoint
from heliostat.train import current as train_current
from heliostat.tune._messages import Order, Report, Update
from heliostat.tune._snapshot import TrialFiles
from heliostat.tune._tee import teed
from heliostat.tune.context import TuneContext

# Gather reports for so long before an answer leaves, when nobody waits for a verdict.
LINGER_S = 0.005
# A trial that reports faster than the study listens waits here, so that memory stays bounded.
MOST_UNREAD = 1000
STOP_GRACE_S = 10.0

_of_thread: ContextVar["Session | None"] = ContextVar("heliostat_tune_session", default=None)
_live: list["Session"] = []
_HOSTNAME = socket.gethostname()
_HERE = os.path.dirname(__file__)


class StopTrialError(BaseException):
    """Raised inside `report` in a trial that shall end. Not an Exception: user code must not catch it."""


class Session:
    """One attempt's end of the conversation with its actor."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.context = TuneContext(
            trial_id=order.trial_id,
            trial_name=order.trial_name,
            trial_dir=order.path,
            trial_resources=order.resources,
            experiment_name=order.experiment_name,
        )
        self.saving: bool | None = False  # when told to end; None for as at its own end
        # How the trial saves itself when it is asked to; None for one that does so by itself only.
        self.saver: Callable[[str], Checkpoint] | None = None
        self._asked_to_save = False
        self._files = TrialFiles(order.path, order.beyond)
        self._changed = threading.Condition()
        self._unread: list[Report] = []
        self._hold_at = order.hold_at
        # The code waits for an answer; somebody waits for the code's word.
        self._holding = False
        self._awaited = False
        self._stopping = False
        self._ended = False
        self._error: BaseException | None = None
        self._saved: str | None = None
        self._checkpoints = order.next_checkpoint
        self._iteration = int(order.last_result.get("training_iteration", 0))
        self._time_before = float(order.last_result.get("time_total_s", 0.0))
        self._iterations_here = 0
        self._started = self._last = time.monotonic()

    # The trial's side.

    def report(
        self,
        metrics: Mapping[str, Any],
        checkpoint: Checkpoint | None = None,
        name: str | None = None,
        delete_local: bool = False,
    ) -> None:
        """Say something, and in lockstep wait for the answer."""
        with self._changed:
            self._stop_here()
            self._say(metrics, checkpoint, name, delete_local, done=False)
            self._changed.wait_for(self._may_go_on)
            while self._asked_to_save and not self._stopping:
                if self.saver is not None:
                    self.save(self.saver(self.stage()))
                self._asked_to_save = False
                self._changed.notify_all()
                self._changed.wait_for(self._may_go_on)
            self._stop_here()

    def _say_last(self, metrics: Mapping[str, Any]) -> None:
        with self._changed:
            self._stop_here()
            self._say(metrics, None, None, False, done=True)

    def _may_go_on(self) -> bool:
        heard = not self._holding and len(self._unread) < MOST_UNREAD
        return heard or self._stopping or self._asked_to_save

    def _stop_here(self) -> None:
        if self._stopping:
            raise StopTrialError

    def _say(
        self,
        metrics: Mapping[str, Any],
        checkpoint: Checkpoint | None,
        name: str | None,
        delete_local: bool,
        *,
        done: bool,
    ) -> None:
        check_metrics(metrics)
        path = None if checkpoint is None else self._store(checkpoint, name, delete_local)
        result = self._with_auto(metrics, path, done=done)
        self._files.append(result)
        self._unread.append(Report(result, path))
        self._holding = self._iteration >= self._hold_at and not done
        if self._awaited and (self._holding or self._has_much()):
            self._changed.notify_all()

    def _has_much(self) -> bool:
        """Whether a call that waits for reports has something to do: the first one, or the last."""
        return len(self._unread) == 1 or len(self._unread) >= MOST_UNREAD

    def _store(self, checkpoint: Checkpoint, name: str | None, delete_local: bool) -> str:
        if not isinstance(checkpoint, Checkpoint):
            raise TypeError(f"report(checkpoint=) takes a tune.Checkpoint, got {checkpoint!r}")
        path = self._files.keep(checkpoint, name or f"checkpoint_{self._checkpoints:06d}")
        self._checkpoints += 1
        if delete_local and path != checkpoint.path:
            shutil.rmtree(checkpoint.path, ignore_errors=True)
        return path

    def stage(self) -> str:
        """An empty directory for the next checkpoint: what is not kept is gone with the trial."""
        return self._files.stage(f"checkpoint_{self._checkpoints:06d}")

    def _with_auto(
        self, metrics: Mapping[str, Any], path: str | None, *, done: bool
    ) -> dict[str, Any]:
        now, wall = time.monotonic(), time.time()
        self._iteration += 1
        self._iterations_here += 1
        here = now - self._started
        result = {
            **metrics,
            "training_iteration": self._iteration,
            "trial_id": self.order.trial_id,
            "experiment_tag": self.order.experiment_tag,
            "time_this_iter_s": now - self._last,
            "time_total_s": self._time_before + here,
            "time_since_restore": here,
            "iterations_since_restore": self._iterations_here,
            "timestamp": int(wall),
            "date": time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(wall)),
            "hostname": _HOSTNAME,
            "node_ip": "127.0.0.1",
            "pid": os.getpid(),
            "checkpoint_dir_name": None if path is None else os.path.basename(path),
            "done": done,
        }
        self._last = now
        return result

    def get_checkpoint(self) -> Checkpoint | None:
        """What the attempt goes on from."""
        path, beyond = self.order.checkpoint, self.order.beyond
        if path is None:
            return None
        return Checkpoint(path) if beyond is None else beyond.checkpoint(path)

    def get_dataset_shard(self, name: str | None) -> Any:
        """Refused: trials have no shards."""
        raise RuntimeError(
            "get_dataset_shard() works inside the training loop of a Trainer; give data to a trial "
            "with tune.with_parameters(trainable, data=dataset)"
        )

    def save(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint without a report; for trainables that save when they are told to end."""
        self._saved = self._store(checkpoint, None, delete_local=True)

    def run(self, code: Callable[["Session"], Mapping[str, Any] | None]) -> None:
        """Run the trial's code as this session's, then say how it ended."""
        error: BaseException | None = None
        threading.current_thread().name = self.order.trial_name
        with _hosted(self):
            try:
                self._files.begin(self.order.config)
                # On the inline engine it would be everybody's directory.
                if self.order.chdir and os.environ.get("HELIOSTAT_WORKER") == "1":
                    os.chdir(self.order.path)
                logs = self.order.log_files
                with nullcontext() if logs is None else teed(self.order.path, logs):
                    final = code(self)
                if final is not None:
                    self._say_last(final)
                with self._changed:
                    self._files.write()  # a disk that is full is the trial's failure
            except StopTrialError:
                pass
            except BaseException as raised:  # noqa: BLE001 - user code: goes to the driver by wait()
                error = raised.with_traceback(_below_ours(raised.__traceback__))
        self._files.end()
        with self._changed:
            self._error = error
            self._ended = True
            self._changed.notify_all()

    # The actor's side.

    def wait(self, *, patient: bool = True) -> Update:
        """What the trial has said since the last time.

        Args:
            patient: Wait until there is something; more that comes soon after it is taken along.

        Raises:
            BaseException: What the trial's code raised, once all it said before is read.
        """
        with self._changed:
            if patient:
                self._awaited = True
                self._changed.wait_for(lambda: self._ended or self._unread)
                self._changed.wait_for(self._says_no_more, LINGER_S)
                self._awaited = False
            reports, self._unread = self._unread, []
            self._files.write()  # before the study hears of it
            self._changed.notify_all()
            if self._error is not None and not reports:
                raise self._error
            order, done = self.order, self._ended and self._error is None
            return Update(order.trial_id, order.attempt, reports, done, self._saved)

    def _says_no_more(self) -> bool:
        return self._ended or self._holding or len(self._unread) >= MOST_UNREAD

    def has_failed(self) -> bool:
        """Whether it ended with an error."""
        with self._changed:
            return self._error is not None

    def say_nothing(self) -> Update:
        """An answer that leaves everything for the next one."""
        return Update(self.order.trial_id, self.order.attempt, [], done=False)

    def go_on(self, hold_at: float) -> None:
        """Let `report` return, up to the iteration at which it waits for an answer again."""
        with self._changed:
            self._hold_at = hold_at
            # The answer is to what was read: a report that came after that still waits for its own.
            self._holding = bool(self._unread) and self._iteration >= hold_at
            self._changed.notify_all()

    def ask_to_save(self) -> Update:
        """Let the trial save itself inside `report`, and wait until it has.

        Raises:
            BaseException: What its saving raised.
        """
        with self._changed:
            self._saved = None
            self._asked_to_save = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._ended or not self._asked_to_save)
            if self._error is not None:
                raise self._error
            saved, self._saved = self._saved, None
            return self.say_nothing()._replace(saved=saved)

    def stop(self, *, save: bool | None) -> bool:
        """Let `report` end the trial instead of returning.

        Args:
            save: Whether the trial shall save itself if it can; None if it is over.

        Returns:
            Whether it has ended.
        """
        with self._changed:
            self.saving = save
            self._stopping = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._ended, STOP_GRACE_S)


@contextmanager
def _hosted(session: Session) -> Iterator[None]:
    token = _of_thread.set(session)
    _live.append(session)
    # heliostat.train.report() and get_checkpoint() work inside a function trial, too.
    train_current.enter(session)  # type: ignore[arg-type]  # has the methods those two call
    try:
        yield
    finally:
        train_current.leave(session)  # type: ignore[arg-type]
        _live.remove(session)
        _of_thread.reset(token)


def _below_ours(frames: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of this package that lead to the user's code."""
    below = frames
    while below is not None and os.path.dirname(below.tb_frame.f_code.co_filename) == _HERE:
        below = below.tb_next
    return below or frames


def current(asker: str) -> Session:
    """The session of the trial that calls, also from a thread that it started.

    Args:
        asker: The function asking, for the message.

    Returns:
        The session.

    Raises:
        RuntimeError: Outside a trial.
    """
    found = _of_thread.get() or (_live[0] if len(_live) == 1 else None)
    if found is None:
        raise RuntimeError(
            f"tune.{asker}() was called outside a trial; call it in the function that Tuner runs"
        )
    return found


def report(metrics: Mapping[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
    """Report metrics of the trial, and a checkpoint if there is one.

    Args:
        metrics: Names and values; nested dicts are known as `outer/inner`.
        checkpoint: A directory that was saved; it is copied into the trial's directory first.

    Raises:
        RuntimeError: Outside a trial.
        TypeError: `metrics` is not a dict with strings as keys.

    Example:
        >>> from heliostat import tune
        >>> def trial(config):
        ...     for step in range(3):
        ...         tune.report({"loss": config["x"] / (step + 1)})
    """
    current("report").report(metrics, checkpoint)


def get_checkpoint() -> Checkpoint | None:
    """The checkpoint to go on from, after a failure, a pause or a restore.

    Returns:
        The last one reported by an earlier attempt; None at a fresh start.

    Raises:
        RuntimeError: Outside a trial.

    Example:
        >>> from heliostat import tune
        >>> def trial(config):
        ...     checkpoint = tune.get_checkpoint()
        ...     first = 0 if checkpoint is None else 1
    """
    return current("get_checkpoint").get_checkpoint()


def get_context() -> TuneContext:
    """Facts about the trial that calls.

    Raises:
        RuntimeError: Outside a trial.

    Example:
        >>> from heliostat import tune
        >>> def trial(config):
        ...     return {"name": tune.get_context().get_trial_name()}
    """
    return current("get_context").context


def check_metrics(metrics: object) -> None:
    """Refuse what is not a dict of metrics."""
    if not isinstance(metrics, Mapping):
        raise TypeError(f"report() takes a dict of metrics, got {metrics!r}")
    for key in metrics:
        if not isinstance(key, str):
            raise TypeError(f"report(): the names of metrics must be strings, got {key!r}")
