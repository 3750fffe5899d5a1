"""Tools around trials: free GPUs, classes that come back as they were, dicts within dicts."""

import copy
import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import heliostat
from heliostat.tune.trainable import Trainable
from heliostat.tune.utils.util import UtilMonitor, validate_warmstart
from heliostat.util import inspect_serializability

__all__ = [
    "UtilMonitor",
    "date_str",
    "deep_update",
    "diagnose_serialization",
    "flatten_dict",
    "merge_dicts",
    "unflattened_lookup",
    "validate_save_restore",
    "validate_warmstart",
    "wait_for_gpu",
    "warn_if_slow",
]

_log = logging.getLogger("heliostat.tune")

_QUERY = "index,uuid,memory.used,memory.total"
_STEPS = 3
# What is another in every process and at every time.
_VOLATILE = frozenset(
    (
        "date", "pid", "timestamp", "hostname", "node_ip", "time_this_iter_s", "time_total_s",
        "time_since_restore", "iterations_since_restore",
    )
)  # fmt: skip


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


def date_str() -> str:
    """Now, as the names of studies have it.

    Example:
        >>> len(date_str())
        19
    """
    return datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S")


@contextmanager
def warn_if_slow(
    name: str, threshold: float | None = None, message: str | None = None, disable: bool = False
) -> Iterator[None]:
    """Warn when what is done inside takes long.

    Args:
        name: What it is called in the warning.
        threshold: How many seconds are long; those of `TUNE_WARN_THRESHOLD_S`, or 0.5, if None.
        message: The warning, with `{name}` and `{duration}`.
        disable: Never warn.

    Example:
        >>> with warn_if_slow("addition"):
        ...     x = 1 + 1
    """
    began = time.monotonic()
    yield
    duration = time.monotonic() - began
    limit = float(os.environ.get("TUNE_WARN_THRESHOLD_S", 0.5)) if threshold is None else threshold
    if duration > limit and not disable:
        text = message or "{name} took {duration:.3f} s, which may hold the study up"
        _log.warning("%s", text.format(name=name, duration=duration))


def flatten_dict(
    dt: Mapping[str, Any],
    delimiter: str = "/",
    prevent_delimiter: bool = False,
    flatten_list: bool = False,
) -> dict[str, Any]:
    """Dicts within dicts as one dict, with the ways to their values as its keys.

    Args:
        dt: The dict; it stays as it is.
        delimiter: What joins the parts of a way.
        prevent_delimiter: Refuse keys that have the delimiter in them.
        flatten_list: Lists, too, with numbers as keys.

    Returns:
        The dict of one level.

    Raises:
        ValueError: A key has the delimiter in it, and that is prevented.

    Example:
        >>> flatten_dict({"a": {"b": 1, "c": [2]}}, flatten_list=True)
        {'a/b': 1, 'a/c/0': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in dt.items():
        if prevent_delimiter and delimiter in key:
            raise ValueError(f"key {key!r} has the delimiter {delimiter!r} in it")
        inner: Any = value
        if flatten_list and isinstance(value, list):
            inner = {str(number): item for number, item in enumerate(value)}
        if not isinstance(inner, Mapping):
            flat[key] = value
            continue
        below = flatten_dict(inner, delimiter, prevent_delimiter, flatten_list)
        flat.update((f"{key}{delimiter}{name}", item) for name, item in below.items())
    return flat


def unflattened_lookup(
    flat_key: str, lookup: Mapping[str, Any] | Sequence[Any], delimiter: str = "/", **kwargs: Any
) -> Any:
    """The value at the end of a way through dicts and lists.

    Args:
        flat_key: The way, such as `a/0/b`; a key that is there as it is goes first.
        lookup: The outermost dict or list.
        delimiter: What joins the parts of a way.
        kwargs: `default` is returned when there is no such way.

    Returns:
        The value.

    Raises:
        KeyError: There is no such way, and no default.

    Example:
        >>> unflattened_lookup("a/0/b", {"a": [{"b": 3}]})
        3
    """
    if unknown := kwargs.keys() - {"default"}:
        raise TypeError(f"unflattened_lookup() takes default=, not {sorted(unknown)[0]}=")
    if isinstance(lookup, Mapping) and flat_key in lookup:
        return lookup[flat_key]
    value: Any = lookup
    try:
        for step in flat_key.split(delimiter):
            value = value[step if isinstance(value, Mapping) else int(step)]
    except (KeyError, IndexError, TypeError, ValueError):
        if "default" in kwargs:
            return kwargs["default"]
        raise KeyError(flat_key) from None
    return value


def merge_dicts(d1: Mapping[str, Any], d2: Mapping[str, Any]) -> dict[str, Any]:
    """One dict on top of another, at every depth.

    Args:
        d1: The lower one.
        d2: The upper one.

    Returns:
        A new dict.

    Example:
        >>> merge_dicts({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
        {'a': {'b': 3, 'c': 2}}
    """
    return deep_update(copy.deepcopy(dict(d1)), d2, new_keys_allowed=True)


def deep_update(
    original: dict[str, Any],
    new_dict: Mapping[str, Any],
    new_keys_allowed: bool = False,
    allow_new_subkey_list: Sequence[str] | None = None,
    override_all_if_type_changes: Sequence[str] | None = None,
    override_all_key_list: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Put the values of one dict into another, at every depth.

    Args:
        original: The dict that is changed.
        new_dict: The values to put in.
        new_keys_allowed: Whether keys may be new.
        allow_new_subkey_list: Keys whose dicts may get new keys all the same.
        override_all_if_type_changes: Keys whose dicts are replaced as a whole when their `type` is
            another.
        override_all_key_list: Keys whose dicts are replaced as a whole.

    Returns:
        `original`.

    Raises:
        KeyError: A key is new, and that is not allowed.

    Example:
        >>> deep_update({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
        {'a': {'b': 3, 'c': 2}}
    """
    for key, value in new_dict.items():
        if key not in original and not new_keys_allowed:
            known = ", ".join(map(repr, original)) or "none"
            raise KeyError(f"unknown key {key!r}; there are: {known}")
        there = original.get(key)
        whole = key in (override_all_key_list or ()) or (
            key in (override_all_if_type_changes or ()) and _another_type(there, value)
        )
        if isinstance(there, dict) and isinstance(value, Mapping) and not whole:
            allowed = new_keys_allowed or key in (allow_new_subkey_list or ())
            deep_update(there, value, allowed, override_all_key_list=override_all_key_list)
        else:
            original[key] = value
    return original


def _another_type(there: Any, value: Any) -> bool:
    both = isinstance(there, Mapping) and isinstance(value, Mapping)
    return both and "type" in there and "type" in value and there["type"] != value["type"]
