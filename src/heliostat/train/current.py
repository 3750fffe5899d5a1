"""Which session the calling code belongs to.

A process may host several ranks at once (the inline engine, or a trainer inside a trainer), so
the session belongs to the loop's thread. A thread that the loop started itself finds it too,
as long as the process has only one. Tune enters a session of its own kind, so that
`heliostat.train.report` works in its functions too.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from heliostat.train.error import SessionMisuseError

if TYPE_CHECKING:
    from heliostat.train.session import Session

_of_thread: ContextVar[Session | None] = ContextVar("heliostat_train_session", default=None)
_live: list[Session] = []


def enter(session: Session) -> None:
    """Make `session` the one of the calling thread."""
    _of_thread.set(session)
    _live.append(session)


def leave(session: Session) -> None:
    """The loop is over."""
    _of_thread.set(None)
    _live.remove(session)


def hosts_a_rank() -> bool:
    """Whether a loop runs in this process now."""
    return bool(_live)


def session(asker: str) -> Session:
    """The caller's session.

    Raises:
        SessionMisuseError: If there is none; names `asker`.
    """
    found = _of_thread.get() or (_live[0] if len(_live) == 1 else None)
    if found is None:
        raise SessionMisuseError(
            f"heliostat.train.{asker}() was called outside a training loop; call it in the "
            "function that the trainer runs (inside a Tune function, use heliostat.tune instead)"
        )
    return found
