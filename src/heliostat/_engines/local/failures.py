"""The errors that the engine itself gives as the value of an object."""

from __future__ import annotations

import pickle

from heliostat._engines.local.messages import ERROR, Value
from heliostat.exceptions import (
    ActorDiedError,
    ActorPlacementGroupRemoved,
    ActorUnavailableError,
    ObjectLostError,
    ObjectReconstructionFailedError,
    OutOfMemoryError,
    OwnerDiedError,
    RuntimeEnvSetupError,
    TaskCancelledError,
    TaskPlacementGroupRemoved,
    WorkerCrashedError,
)


def as_value(error: BaseException) -> Value:
    """An error of ours as a value."""
    return ERROR, pickle.dumps(error, 5), (), ()


def cancelled(name: str) -> Value:
    """The task was cancelled."""
    return as_value(TaskCancelledError(f"task {name} was cancelled"))


def crashed(name: str, reason: str) -> Value:
    """The process died under the task, and no retry is left."""
    return as_value(
        WorkerCrashedError(
            f"the worker process died while it ran {name}: {reason}. Retries are used up; "
            "max_retries=... allows more"
        )
    )


def no_process(name: str, why: str) -> Value:
    """No worker process can be started for the task, and none will take it."""
    return as_value(
        WorkerCrashedError(
            f"no worker process could be had for {name}: {why}. All that there are host actors, or "
            "wait for others"
        )
    )


def group_removed(name: str, group: str) -> Value:
    """The placement group of the task is gone."""
    return as_value(TaskPlacementGroupRemoved(f"{name} was not finished: {group} was removed"))


def environment(reason: str) -> Value:
    """A `runtime_env` could not be made."""
    return as_value(RuntimeEnvSetupError(reason))


def setup_hook(error: BaseException) -> Value:
    """The setup hook of a `runtime_env` raised."""
    import traceback  # noqa: PLC0415 - seldom needed

    text = "".join(traceback.format_exception(error))
    return environment(f"worker_process_setup_hook raised in a new worker:\n{text}")


def out_of_memory(reason: str, largest: str) -> Value:
    """The worker was ended because it, or the machine, had too little memory."""
    return as_value(
        OutOfMemoryError(
            f"the worker process was ended: {reason}. {largest}Ask for more with memory=, pass "
            "smaller pieces, or run fewer at once with num_cpus="
        )
    )


def actor_dead(name: str, reason: str, actor: bytes) -> Value:
    """The actor is gone for good."""
    return as_value(ActorDiedError(f"actor {name} is dead: {reason}", actor.hex()))


def actor_group_removed(name: str, reason: str, actor: bytes) -> Value:
    """The placement group of an actor that was not there yet is gone."""
    del actor
    return as_value(ActorPlacementGroupRemoved(f"actor {name} was not made: {reason}"))


def actor_restarting(name: str, reason: str, actor: bytes) -> Value:
    """The call was in the process that died; the actor comes back."""
    return as_value(
        ActorUnavailableError(
            f"the process of actor {name} died during this call: {reason}. The actor restarts; "
            "max_task_retries=... repeats such calls",
            actor.hex(),
        )
    )


def owner_died(name: str) -> Value:
    """The process that called an actor directly died before it had the result."""
    return as_value(
        OwnerDiedError(
            f"the result of {name} is lost: the process that made this call died before the call "
            "had ended. Have a process make it that lives longer"
        )
    )


def lost(id_: bytes) -> Value:
    """Nobody knows the object."""
    return as_value(
        ObjectLostError(
            f"object {id_.hex()} is not known here: it was freed, or belongs to a session that "
            "has ended",
            id_.hex(),
        )
    )


def unreadable(id_: bytes, error: Exception, obstacle: str, tried: bool) -> Value:
    """The object was moved to disk, cannot be read from there, and cannot be made again."""
    kind = ObjectReconstructionFailedError if tried else ObjectLostError
    what = f"object {id_.hex()} was moved to disk and is lost: {error}. {obstacle}"
    return as_value(kind(what, id_.hex()))


def text(value: Value) -> str:
    """The message of an error value, for another error that is caused by it."""
    return str(pickle.loads(value[1], buffers=value[2]))
