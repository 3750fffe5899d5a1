"""TrainWorker: the actor that hosts one rank and runs the user's loop in a thread.

News travels in the answers of `advance`: a call says "go on" and returns when the loop has
something to say. Nobody asks twice, nobody polls. The actor itself decides nothing.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import heliostat
from heliostat.train import session as session_module
from heliostat.train._rank_process import prepare
from heliostat.train._stacks import Ear, listen
from heliostat.train.checkpoint import Checkpoint
from heliostat.train.context import TrainContext
from heliostat.train.session import Meeting, Question, Released, Reply, Report, Session, Stored
from heliostat.train.validation_config import ValidationTaskConfig

T = TypeVar("T")
# Travels on the user's exception: leaving the loop's context makes other ranks fail too, and the
# earliest of them all is to blame. All ranks of a machine read the same monotonic clock.
RAISED_AT = "_heliostat_raised_at"
OWN_FILES = (__file__, session_module.__file__)


class Place(NamedTuple):
    """Where a rank lives."""

    node_id: str
    pid: int
    hostname: str
    gpu_ids: tuple[int | str, ...]


@dataclass(frozen=True)
class Loop:
    """What every rank runs: the user's function and the context to run it in."""

    function: Callable[[], Any]
    context: Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Assignment:
    """What one rank is given."""

    context: TrainContext
    checkpoint: Checkpoint | None
    shards: dict[str, Any]
    number: int = 0
    validation: ValidationTaskConfig | None = None
    log_level: str | None = None


class Done(NamedTuple):
    """The loop returned."""

    value: Any


class TrainWorker:
    """One rank: a session, and a thread that runs the loop."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._loop: Loop | None = None
        self._thread: threading.Thread | None = None
        self._value: Any = None
        self._error: BaseException | None = None

    def describe(self) -> Place:
        """Where this rank lives."""
        context = heliostat.get_runtime_context()
        return Place(
            context.get_node_id(), os.getpid(), socket.gethostname(), tuple(heliostat.get_gpu_ids())
        )

    def execute(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a function here; what backends join the ranks with."""
        return function(*args, **kwargs)

    def begin(self, assignment: Assignment, loop: Loop, own_process: bool = False) -> Ear | None:
        """Take the rank's number, data and loop. The loop starts with the first `advance`.

        Returns:
            How to ask for this process's stacks, if it is the rank's own.
        """
        self._session = Session(
            assignment.context,
            assignment.checkpoint,
            assignment.shards,
            assignment.number,
            assignment.validation,
        )
        self._loop = loop
        if own_process:
            prepare()
        if own_process and assignment.log_level is not None:
            logging.getLogger("heliostat.train").setLevel(assignment.log_level)
        return listen() if own_process else None

    def advance(self, reply: Reply | None = None) -> Report | Stored | Question | Meeting | Done:
        """Let the loop go on until it has something to say.

        Args:
            reply: What a loop that waits is told; None for one that is at work.

        Returns:
            Its next news, or Done.

        Raises:
            BaseException: What the loop raised.
        """
        session = self._session
        assert session is not None, "advance before begin"
        if self._thread is None:
            name = f"train-rank-{session.context.world_rank}"
            # With the actor's context, so that the loop knows its GPUs and its task.
            run = contextvars.copy_context().run
            self._thread = threading.Thread(
                target=run, args=(session.run, self._run_loop), name=name, daemon=True
            )
            self._thread.start()
        elif reply is not None:
            session.go_on(reply)
        news = session.next_news()
        if news is not None:
            return news
        self._thread.join()
        if self._error is not None:
            raise self._error
        return Done(self._value if session.context.world_rank == 0 else None)

    def release(self) -> None:
        """End a loop that waits in `report`; for ranks that share the controller's process."""
        if self._session is not None and self._thread is not None:
            self._session.release()
            self._thread.join()

    def _run_loop(self) -> None:
        assert self._loop is not None
        assert self._session is not None
        try:
            with self._loop.context():
                try:
                    self._value = self._loop.function()
                    self._session.finish()
                except BaseException as error:
                    with contextlib.suppress(AttributeError):  # a class with __slots__
                        setattr(error, RAISED_AT, time.monotonic())
                    raise
        except Released:
            pass
        except SystemExit as error:
            self._error = RuntimeError(f"the training loop called sys.exit({error.code!r})")
        # The loop is the user's: whatever it raises leaves through advance().
        except BaseException as error:  # noqa: BLE001
            self._error = error.with_traceback(_users_part(error.__traceback__))


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that is not ours."""
    inner = trace
    while inner is not None and inner.tb_frame.f_code.co_filename in OWN_FILES:
        inner = inner.tb_next
    return inner or trace
