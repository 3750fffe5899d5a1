"""TrialActor: the actor that hosts trials, one after the other. A thread runs the user's code.

`run_trials` is a task that does the same for trials that nobody answers.
"""

import math
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextvars import copy_context

from heliostat.tune._messages import Order, Update
from heliostat.tune._runnable import Runnable
from heliostat.tune.error import TuneError
from heliostat.tune.session import Session

# So long may several attempts take together; those that have not begun by then are handed back.
SPAN_S = 0.05


class TrialActor:
    """Runs attempts of trials; each call waits for what the attempt says next."""

    def __init__(self, runnable: Runnable) -> None:
        self._runnable = runnable
        self._session: Session | None = None
        # Attempts still to come in this lot, and what those before the present one said.
        self._changing = threading.Lock()
        self._to_come: deque[Order] = deque()
        self._past: list[Update] = []
        self._over = threading.Event()
        self._host: threading.Thread | None = None

    def start(self, orders: list[Order]) -> list[Update]:
        """Begin attempts, each when the one before it has ended well, and wait for their first words.

        Returns:
            What they said. Those of which there is nothing have not begun, and will not.
        """
        first, *rest = orders
        if self._host is not None:
            self._host.join()  # it must not take the attempts of this lot for its own
        self._session = session = Session(first)
        self._to_come.extend(rest)
        self._over.clear()
        # With the actor's context, so that the trial knows its GPUs and its task.
        run = copy_context().run
        self._host = threading.Thread(target=run, args=(self._run_lot, session), daemon=True)
        self._host.start()
        if rest:
            self._over.wait(SPAN_S)
            with self._changing:
                self._to_come.clear()
        return self._wait(patient=not rest)

    def next(self, hold_at: float) -> list[Update]:
        """Let the attempt go on and wait for its next word."""
        assert self._session is not None
        self._session.go_on(hold_at)
        return self._wait()

    def save(self) -> list[Update]:
        """Let the attempt, which waits for its answer, save itself, and wait until it has."""
        assert self._session is not None
        return [self._session.ask_to_save()]

    def stop(self, save: bool | None) -> list[Update]:
        """End the attempt, and wait until it is quiet."""
        assert self._session is not None
        if not self._session.stop(save=save):
            raise TuneError("the trial did not end when it was told to")
        return self._wait()

    def close(self) -> None:
        """There are no more trials for this process."""
        self._runnable.close()

    def leave(self) -> bool:
        """Let nothing go on.

        Returns:
            Whether nothing does; not if the user's code is in the middle of its work.
        """
        with self._changing:
            self._to_come.clear()
        return self._session is None or self._session.stop(save=False)

    def _run_lot(self, session: Session | None) -> None:
        """In a thread of its own: run the attempts of a lot."""
        while session is not None:
            session.run(self._runnable.run)
            session = self._pass_on(session)
        self._over.set()

    def _pass_on(self, session: Session) -> Session | None:
        """The session after one that has ended; None if there is none, or if it failed."""
        with self._changing:
            if not self._to_come or session.has_failed():
                return None  # how it ended is read by `_wait`
            self._past.append(session.wait())
            self._session = session = Session(self._to_come.popleft())
            return session

    def _wait(self, *, patient: bool = True) -> list[Update]:
        """What was said; from here on nobody changes `_past` and `_session` but the calls."""
        assert self._session is not None
        past, self._past = self._past, []
        if past and self._session.has_failed():
            return [*past, self._session.say_nothing()]  # its error is for the next call
        try:
            return [*past, self._session.wait(patient=patient)]
        except Exception:
            raise
        except BaseException as error:  # sys.exit() in a trial must not end its process unexplained
            raise TuneError(f"the trainable raised {error!r}") from error


def run_trials(runnable: Runnable, orders: list[Order]) -> Iterator[list[Update]]:
    """Run attempts that nobody answers, as `TrialActor.start` does, and yield what they say."""
    home = os.getcwd()
    host = TrialActor(runnable)
    try:
        updates = host.start(orders)
        yield updates
        while not updates[-1].done:
            updates = host.next(math.inf)
            yield updates
    finally:
        # Others use this process. If it was cancelled, nothing else ends what it is in the middle of.
        if not host.leave() and os.environ.get("HELIOSTAT_WORKER") == "1":
            os._exit(1)
        host.close()
        os.chdir(home)
