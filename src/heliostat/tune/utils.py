"""Tools around trials: is a GPU free, does a class come back as it was, can a function be sent."""

import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import heliostat
from heliostat.tune.trainable import Trainable
from heliostat.util import inspect_serializability

__all__ = ["diagnose_serialization", "validate_save_restore", "wait_for_gpu"]

_QUERY = "index,uuid,memory.used,memory.total"
_STEPS = 3
# What is another in every process and at every time.
_VOLATILE = frozenset(
    [
        "date",
        "pid",
        "timestamp",
        "hostname",
        "node_ip",
        "time_this_iter_s",
        "time_total_s",
        "time_since_restore",
        "iterations_since_restore",
    ]
)


class _Gpu(NamedTuple):
    number: str
    uuid: str
    used: float


def wait_for_gpu(
    gpu_id: int | str | None = None,
    target_util: float = 0.01,
    retry: int = 20,
    delay_s: float = 5,
    gpu_memory_limit: float | None = None,
) -> bool:
    """Wait until the memory of a GPU is free: who had it before may still be on its way out.

    Args:
        gpu_id: Its index or UUID; the first one of the trial if None.
        target_util: Go on when at most this part of its memory is in use; 0 for none at all.
        retry: How often to look.
        delay_s: How long to wait between looks.
        gpu_memory_limit: Only None; Ray has dropped it.

    Returns:
        True.

    Raises:
        ValueError: `gpu_memory_limit` is given.
        RuntimeError: There is no such GPU, or it did not become free.

    Example:
        >>> wait_for_gpu(0)  # doctest: +SKIP
        True
    """
    if gpu_memory_limit is not None:
        raise ValueError("gpu_memory_limit is not used any more; give target_util, a part of 1")
    if gpu_id is None:
        ids = heliostat.get_gpu_ids()
        if not ids:
            raise RuntimeError(
                "wait_for_gpu() was called where no GPU was asked for; give gpu_id, or "
                'tune.with_resources(trainable, {"gpu": 1})'
            )
        gpu_id = ids[0]
    for look in range(retry):
        if look:
            time.sleep(delay_s)
        gpus = _gpus()
        found = [gpu for gpu in gpus if str(gpu_id) in (gpu.number, gpu.uuid)]
        if not found:
            known = ", ".join(f"{gpu.number} ({gpu.uuid})" for gpu in gpus) or "none"
            raise RuntimeError(f"there is no GPU {gpu_id!r}; nvidia-smi knows {known}")
        if found[0].used <= target_util:
            return True
    raise RuntimeError(
        f"GPU {gpu_id!r} has {found[0].used:.0%} of its memory in use after {retry} looks; end what "
        "uses it, or give a larger target_util"
    )


def _gpus() -> list[_Gpu]:
    command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"wait_for_gpu() needs nvidia-smi, which failed: {error}") from error
    rows = [[cell.strip() for cell in line.split(",")] for line in shown.splitlines() if line]
    return [_Gpu(number, uuid, float(used) / float(total)) for number, uuid, used, total in rows]


def diagnose_serialization(trainable: Callable[..., Any]) -> bool | set[Any]:
    """Say which part of a function, if any, cannot be sent to a trial, and print the way to it.

    Args:
        trainable: The function.

    Returns:
        True if it can be sent; else the parts that cannot.

    Example:
        >>> diagnose_serialization(lambda config: {"loss": config["x"]})
        True
    """
    sendable, culprits = inspect_serializability(trainable)
    return True if sendable else culprits


def validate_save_restore(
    trainable_cls: type[Trainable], config: dict[str, Any] | None = None, num_gpus: float = 0
) -> bool:
    """Try whether a Trainable class goes on from its checkpoint as if nothing had been between.

    It makes steps, saves itself and makes more; new objects of it, each in a process of its own, are
    restored from there and make the same steps.

    Args:
        trainable_cls: The class.
        config: Its configuration.
        num_gpus: What its process needs.

    Returns:
        True.

    Raises:
        TypeError: It is no Trainable class.
        ValueError: What it returns after a restore is something else.

    Example:
        >>> from heliostat import tune
        >>> class Count(tune.Trainable):
        ...     def setup(self, config):
        ...         self.x = 0
        ...     def step(self):
        ...         self.x += 1
        ...         return {"x": self.x}
        ...     def save_checkpoint(self, checkpoint_dir):
        ...         return {"x": self.x}
        ...     def load_checkpoint(self, checkpoint):
        ...         self.x = checkpoint["x"]
        >>> validate_save_restore(Count)
        True
    """
    if not (isinstance(trainable_cls, type) and issubclass(trainable_cls, Trainable)):
        raise TypeError(f"validate_save_restore() takes a Trainable class, got {trainable_cls!r}")
    make: Any = heliostat.remote(num_gpus=num_gpus)(trainable_cls)

    def steps(begin: str | None, save: str | None = None) -> list[dict[str, Any]]:
        made = make.remote(config)
        if begin is not None:
            heliostat.get(made.restore.remote(begin))
        if save is not None:
            heliostat.get([made.train.remote() for _ in range(_STEPS)])
            heliostat.get(made.save.remote(save))
        results = heliostat.get([made.train.remote() for _ in range(_STEPS)])
        heliostat.kill(made)  # the next one may need what it holds
        return [_lasting(result) for result in results]

    with tempfile.TemporaryDirectory() as directory:
        whole = steps(None, save=directory)
        found, again = steps(directory), steps(directory)
    if found != again:  # chance is part of it, so only the count can be compared
        whole, found = ([_count(result) for result in results] for results in (whole, found))
    for step, (was, now) in enumerate(zip(whole, found, strict=True), _STEPS + 1):
        if was != now:
            raise ValueError(
                f"{trainable_cls.__name__} does not go on from its checkpoint: step {step} returned "
                f"{now} after a restore, and {was} without; look what save_checkpoint() leaves out"
            )
    return True


def _count(result: dict[str, Any]) -> dict[str, Any]:
    return {"training_iteration": result["training_iteration"]}


def _lasting(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name not in _VOLATILE}
