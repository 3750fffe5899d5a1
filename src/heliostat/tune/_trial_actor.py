"""TrialActor: the actor that hosts trials, one after the other. A thread runs the user's code."""

import threading

from heliostat.tune._messages import Order, Update
from heliostat.tune._runnable import Runnable
from heliostat.tune.error import TuneError
from heliostat.tune.session import Session


class TrialActor:
    """Runs attempts of trials; each call waits for what the attempt says next."""

    def __init__(self, runnable: Runnable) -> None:
        self._runnable = runnable
        self._session: Session | None = None

    def start(self, order: Order) -> Update:
        """Begin an attempt and wait for its first word."""
        self._session = session = Session(order)
        threading.Thread(
            target=session.run, args=(self._runnable.run,), name=order.trial_name, daemon=True
        ).start()
        return self._wait(session)

    def next(self) -> Update:
        """Let the attempt go on and wait for its next word."""
        assert self._session is not None
        self._session.go_on()
        return self._wait(self._session)

    def save(self) -> Update:
        """Let the attempt, which waits for its answer, save itself, and wait until it has."""
        assert self._session is not None
        return self._session.ask_to_save()

    def stop(self, save: bool) -> Update:
        """End the attempt, and wait until it is quiet."""
        assert self._session is not None
        if not self._session.stop(save=save):
            raise TuneError("the trial did not end when it was told to")
        return self._wait(self._session)

    def close(self) -> None:
        """There are no more trials for this process."""
        self._runnable.close()

    def _wait(self, session: Session) -> Update:
        try:
            return session.wait()
        except Exception:
            raise
        except BaseException as error:  # sys.exit() in a trial must not end its process unexplained
            raise TuneError(f"the trainable raised {error!r}") from error
