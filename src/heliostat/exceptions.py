"""Every public error of Core, with Ray's names.

The tree, by who is to blame::

    RayError
      RayTaskError              the user's function raised (also an instance of the cause's class)
      TaskCancelledError        somebody called cancel()
      GetTimeoutError           get(timeout=...) ran out (also a TimeoutError)
      WorkerCrashedError        the process died under a task and no retry was left
      RayActorError
        ActorDiedError          the actor is gone for good
        ActorUnavailableError   the actor is restarting; this call is lost
      ObjectLostError           a value is gone: freed, or its owner died
      ObjectStoreFullError      no shared memory left within the budget
      OutOfMemoryError          a worker was ended because memory ran out
      TaskUnschedulableError    a task asks for what this machine does not have
      ActorUnschedulableError   the same for an actor
      PendingCallsLimitExceeded max_pending_calls reached
      RuntimeEnvSetupError      a runtime_env could not be made

At the end are those that only a cluster raises: no engine here does, and they are there so that an
`except` clause that names them can be read.

This file knows nothing of engines.
"""

from __future__ import annotations

import functools
import pickle
from typing import Any


class RayError(Exception):
    """The root of every error that Heliostat raises about running work."""


class RayTaskError(RayError):
    """A remote function or method raised.

    What `get` raises is also an instance of the cause's class, so both
    ``except RayTaskError`` and ``except ValueError`` catch it.

    Args:
        function_name: The name of the function that raised.
        traceback_str: The remote traceback, as text.
        cause: The exception that the user's code raised.
        proctitle: What that process calls itself; no worker here has another title than Python's.
        pid: The process it was raised in.
        ip: Its machine, if that is another.
        actor_repr: The actor as text, if somebody has said it.
        actor_id: The actor whose method raised, in hex; None for a task.

    What is given here can be read under the same names, also of what `get` raises, whose `args` are
    the cause alone.

    Example:
        >>> error = RayTaskError("f", "Traceback ...", ValueError("no"))
        >>> isinstance(error.as_instanceof_cause(), ValueError)
        True
    """

    def __init__(
        self,
        function_name: str,
        traceback_str: str,
        cause: BaseException,
        proctitle: str | None = None,
        pid: int | None = None,
        ip: str | None = None,
        actor_repr: str | None = None,
        actor_id: str | None = None,
    ) -> None:
        super().__init__(function_name, traceback_str, cause)
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.cause = cause
        self.proctitle = proctitle
        self.pid = pid
        self.ip = ip
        self.actor_repr = actor_repr
        self.actor_id = actor_id

    def __str__(self) -> str:
        where = f" in {self.function_name}() (pid={self.pid})" if self.pid else ""
        try:
            words = str(self.cause)
        except Exception as error:  # noqa: BLE001 - a user's __str__ must not hide the error
            words = f"<str failed: {type(error).__name__}>"
        return f"{type(self.cause).__name__}{where}: {words}\n{self.traceback_str}".rstrip()

    def as_instanceof_cause(self) -> RayTaskError:
        """This error as an instance of both RayTaskError and the cause's class."""
        cause_class: Any = type(self.cause)
        if isinstance(self, cause_class) or issubclass(RayTaskError, cause_class):
            return self
        if isinstance(self.cause, RayTaskError) or not isinstance(self.cause, Exception):
            return self
        dual = _dual_class(cause_class)
        if dual is None:
            return self
        error = _new(dual, self.cause)
        error.args = (self.cause,)
        error.__dict__.update(cause=self.cause, _plain=self)
        error.__cause__ = self.cause
        for note in getattr(self, "__notes__", ()):
            error.add_note(note)
        return error


class _Dual(RayTaskError):
    """What dual errors share; pickles as the plain error it was made from.

    What that says of the call can be read here, too, but for what the cause has under the same name.
    """

    _plain: RayTaskError

    def __init__(self) -> None:
        raise TypeError("made by RayTaskError.as_instanceof_cause()")

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or name in ("cause", "_plain"):
            raise AttributeError(name)
        try:
            return getattr(self.cause, name)
        except AttributeError:
            return getattr(self._plain, name)

    def __reduce__(self) -> tuple[object, ...]:
        return RayTaskError.as_instanceof_cause, (self._plain,)

    def __str__(self) -> str:
        return str(self._plain)

    __repr__ = RayError.__repr__


def _new(dual: type[_Dual], cause: Exception) -> _Dual:
    try:
        return dual.__new__(dual)
    except TypeError:  # ExceptionGroup wants its arguments; MemoryError makes none but its own
        arguments = cause.args if isinstance(cause, BaseExceptionGroup) else ()
        make = dual.__new__ if arguments else Exception.__new__
        return make(dual, *arguments)


@functools.lru_cache(maxsize=256)
def _dual_class(cause_class: type[Exception]) -> type[_Dual] | None:
    """A class that is both, or None where the two layouts cannot be combined."""
    try:
        return type(f"RayTaskError({cause_class.__name__})", (_Dual, cause_class), {})
    except TypeError:
        return None


class TaskCancelledError(RayError):
    """The task was cancelled before it finished."""

    def __init__(self, message: str = "This task was cancelled.") -> None:
        super().__init__(message)


class GetTimeoutError(RayError, TimeoutError):
    """`get(timeout=...)` ran out before the value was there."""


class WorkerCrashedError(RayError):
    """The worker process died while it ran the task."""

    def __init__(
        self, message: str = "The worker died unexpectedly while it ran this task."
    ) -> None:
        super().__init__(message)


class RayActorError(RayError):
    """An actor could not run a call.

    Args:
        message: What happened.
        actor_id: The actor's id in hex, where it is known.
    """

    def __init__(self, message: str = "The actor died.", actor_id: str | None = None) -> None:
        super().__init__(message, actor_id)
        self.actor_id = actor_id

    def __str__(self) -> str:
        return str(self.args[0])


class ActorDiedError(RayActorError):
    """The actor is dead and will not come back."""


class ActorUnavailableError(RayActorError):
    """The actor was restarting when the call was lost; later calls may work."""


class ActorAlreadyExistsError(ValueError, RayError):
    """An actor of this name lives already; use `get_if_exists=True` or another name."""


class ActorHandleNotFoundError(ValueError, RayError):
    """No live actor has this name."""


class AsyncioActorExit(RayError):
    """Raised inside an asyncio actor by `exit_actor()`."""


class ObjectLostError(RayError):
    """The value of a reference is gone.

    Args:
        message: What happened.
        object_ref_hex: The reference in hex.
    """

    def __init__(self, message: str, object_ref_hex: str = "") -> None:
        super().__init__(message, object_ref_hex)
        self.object_ref_hex = object_ref_hex

    def __str__(self) -> str:
        return str(self.args[0])


class ObjectFreedError(ObjectLostError):
    """The value was freed while a reference to it was still held."""


class OwnerDiedError(ObjectLostError):
    """The process that made the value died before it was stored."""


class ObjectReconstructionFailedError(ObjectLostError):
    """The value is gone, and the task that made it could not be repeated."""


class ObjectStoreFullError(RayError):
    """The shared memory budget does not have room for the value."""


class OutOfDiskError(RayError):
    """A disk is full."""


class OutOfMemoryError(RayError):
    """A worker was ended because the machine ran out of memory."""


class NodeDiedError(RayError):
    """The machine that ran the work is gone."""


class DeadlockError(RayError):
    """Tasks or actors wait for each other in a circle; the message lists who waits for whom.

    Raised where the wait that closed the circle is, so that the others can go on.
    """


class RaySystemError(RayError):
    """Heliostat itself failed; please report it."""


class RuntimeEnvSetupError(RayError):
    """A `runtime_env` could not be prepared."""


class TaskUnschedulableError(RayError):
    """The task asks for resources that this machine does not have at all."""


class ActorUnschedulableError(RayError):
    """The actor asks for resources that this machine does not have at all."""


class TaskPlacementGroupRemoved(RayError):
    """The placement group of the task was removed."""


class ActorPlacementGroupRemoved(RayError):
    """The placement group of the actor was removed."""


class PendingCallsLimitExceeded(RayError):
    """The actor has `max_pending_calls` calls waiting already."""


class ObjectRefStreamEndOfStreamError(RayError):
    """A streaming generator has no further item."""


class UnserializableException(RayError):
    """The remote exception could not be pickled; this carries its text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)


class SerializationError(RayError, TypeError, pickle.PicklingError):
    """A value cannot be pickled; the message gives the path to the culprit inside it."""


class AuthenticationError(RayError):
    """Raised by clusters only: a cluster refused the token of a client."""


class CrossLanguageError(RayError):
    """Raised by clusters only: a task in another language raised."""


class LocalRayletDiedError(RayError):
    """Raised by clusters only: the daemon of a cluster's node died."""


class ObjectFetchTimedOutError(ObjectLostError):
    """Raised by clusters only: a value could not be fetched from another node in time."""


class OufOfBandObjectRefSerializationException(RayError):
    """Raised by clusters only: a reference was pickled by hand where a cluster forbids it."""


class PlasmaObjectNotAvailable(RayError):
    """Raised by clusters only: a value was not in the store of a cluster's node."""


class RayChannelError(RaySystemError):
    """Raised by clusters only: a channel of a compiled graph failed."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """Raised by clusters only: a channel of a compiled graph was not written or read in time."""


class RayCgraphCapacityExceeded(RaySystemError):
    """Raised by clusters only: a compiled graph had too many executions under way."""


class RayDirectTransportError(RaySystemError):
    """Raised by clusters only: a tensor could not be sent from device to device."""


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """Raised by clusters only: a cluster lost count of a reference."""


class RpcError(RayError):
    """Raised by clusters only: a message to another node failed."""


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """Raised by clusters only: a repeated generator yielded another number of items."""


class UserCodeException(RayError):
    """Raised by clusters only: the user's code failed in a library of Ray's."""
