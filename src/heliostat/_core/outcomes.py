"""What a call gives back: errors wrapped for their receiver, values spread over the results.

Shared by the engines that run user code; knows nothing of where it ran.
"""

from __future__ import annotations

import inspect
import os
import sysconfig
import traceback
from collections.abc import Sequence
from typing import Any

from heliostat._core.options import Items
from heliostat._core.session import current_engine
from heliostat.exceptions import RayTaskError

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_ENGINE = _PACKAGE + "_"
_LIBRARIES = (
    _PACKAGE,
    *{sysconfig.get_path(kind) + os.sep for kind in ("stdlib", "purelib", "platlib")},
)


def task_error(name: str, error: BaseException) -> RayTaskError:
    """What `get` raises for an error of the user's code, with the traceback of the user's frames."""
    if isinstance(error, RayTaskError):
        return error
    actor, pid = current_engine().running().actor, os.getpid()
    here = actor.hex() if actor else None
    return RayTaskError(name, user_traceback(error), error, pid=pid, actor_id=here)


def user_traceback(error: BaseException) -> str:
    """The traceback as text, without what called the user's code: the engine, or a library of ours."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=False)
    kept = [frame for frame in frames.stack if not frame.filename.startswith(_ENGINE)]
    users = [at for at, frame in enumerate(kept) if _is_users(frame.filename)]
    if kept:
        kept = kept[users[0] if users else 0 :]
        frames.stack = traceback.StackSummary.from_list(kept)
    return "".join(frames.format())


def _is_users(file: str) -> bool:
    """Whether code is neither ours nor of a library: compiled modules give a path of their own."""
    return not file.startswith(_LIBRARIES) and (os.path.isabs(file) or file.startswith("<"))


def raisable(error: BaseException) -> BaseException:
    """The error as `get` raises it."""
    return error.as_instanceof_cause() if isinstance(error, RayTaskError) else error


def retries(error: BaseException, kinds: bool | tuple[type[BaseException], ...]) -> bool:
    """Whether `retry_exceptions=kinds` asks for another try after this error."""
    if isinstance(kinds, bool):
        return kinds
    cause = error.cause if isinstance(error, RayTaskError) else error
    return isinstance(cause, kinds)


def spread(outcome: Any, num_returns: int | Items) -> Sequence[Any]:
    """One value per result.

    Raises:
        ValueError: When the function returned another number of values than it promised.
        TypeError: When it returned no values but one.
    """
    if num_returns == 1 and not inspect.isgenerator(outcome):
        return (outcome,)
    if num_returns == 0:
        return ()
    values: Sequence[Any] = outcome
    if not isinstance(outcome, (list, tuple)):
        try:
            values = list(outcome)
        except TypeError:
            raise TypeError(
                f"num_returns={num_returns}, but the function returned one {type(outcome).__name__}"
            ) from None
    if len(values) != num_returns:
        raise ValueError(
            f"num_returns={num_returns}, but the function returned {len(values)} values"
        )
    return values
