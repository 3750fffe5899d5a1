"""init, shutdown, is_initialized: the one current engine of this process, and what it has.

An engine is chosen by name and loaded by import string, so nothing here imports one.
Worker processes call `attach` with the engine they were born with.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import math
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from heliostat import _showing
from heliostat._core import refs
from heliostat._core.engine import NAMES, Engine
from heliostat._core.options import InitOptions, custom_resources
from heliostat._core.options import runtime_env as parse_runtime_env
from heliostat._version import __version__
from heliostat._where import is_cluster, where

_lock = threading.RLock()
_engine: Engine | None = None
_undo: list[Callable[[], None]] = []  # what the session has changed in this process
_parents_engine: Engine | None = None


class RayContext(Mapping[str, Any]):
    """What `init` returns: facts about the session, and a context manager that ends it.

    Example:
        >>> import heliostat as ray
        >>> ray.shutdown()
        >>> with ray.init(engine="inline") as context:
        ...     context["node_id"] == context.address_info["node_id"]
        True
    """

    def __init__(self, engine: Engine) -> None:
        state = engine.describe()
        self.address_info: dict[str, Any] = {
            "node_ip_address": "127.0.0.1",
            "address": state.address,
            "node_id": state.node_id,
            "namespace": state.namespace,
        }
        # As Ray has it, without "http://"; with the secret that lets the reader in.
        self.dashboard_url = _showing.url().removeprefix("http://")
        self.python_version = "{}.{}.{}".format(*sys.version_info)
        self.ray_version = __version__
        self.ray_commit = ""

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def __iter__(self) -> Any:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    def __enter__(self) -> RayContext:
        return self

    def __exit__(self, *_error: object) -> None:
        shutdown()

    def _repr_html_(self) -> str:
        return _showing.summary(self.python_version, self.ray_version)

    def disconnect(self) -> None:
        """End the session, as `shutdown` does."""
        shutdown()

    def __repr__(self) -> str:
        return f"RayContext({self.address_info})"


def init(
    address: str | None = None,
    *,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    resources: dict[str, float] | None = None,
    labels: dict[str, str] | None = None,
    object_store_memory: int | None = None,
    object_spilling_directory: str | os.PathLike[str] | None = None,
    local_mode: bool = False,
    engine: str | None = None,
    ignore_reinit_error: bool = False,
    include_dashboard: bool | None = None,
    log_to_driver: bool | None = True,
    namespace: str | None = None,
    configure_logging: bool = True,
    logging_level: int | str | None = None,
    logging_format: str | None = None,
    logging_config: Any = None,
    faults: Sequence[str] = (),
    fault_seed: int = 0,
    runtime_env: Mapping[str, Any] | None = None,
    _tracing_startup_hook: str | None = None,
    **others: Any,
) -> RayContext:
    """Start a session. Nothing is listening on a port unless asked to, and nothing stays behind.

    Args:
        address: None or "local" (this machine); else of a Ray cluster: "auto", "ray://host:10001".
        num_cpus: Logical CPUs; as many as this process may use when left out (also the
            environment variable HELIOSTAT_NUM_CPUS).
        num_gpus: Logical GPUs; those in CUDA_VISIBLE_DEVICES when left out (also
            HELIOSTAT_NUM_GPUS).
        resources: Custom resources by name.
        labels: Labels of this machine, for `label_selector` and scheduling strategies.
        object_store_memory: Budget in bytes for large values in shared memory; 30 % of the
            memory of the machine or container when left out. What does not fit moves to disk.
        object_spilling_directory: Where large values go that do not fit into that budget; the
            directory for temporary files (TMPDIR) when left out. Nothing stays there.
        local_mode: The same as `engine="inline"`.
        engine: "local" (worker processes), "inline" (this thread) or "ray" (a Ray cluster).
        ignore_reinit_error: Do nothing when a session exists already.
        include_dashboard: Show the session in a browser, on this machine only; the URL is written
            to stderr, and is in the returned value's `dashboard_url`. `dashboard_port` says where.
        log_to_driver: Show what workers print.
        namespace: Where named actors are found.
        configure_logging: False leaves `logging` alone, whatever the next two say.
        logging_level: What the loggers "heliostat" and "ray" write at least, here and in workers.
        logging_format: How they write it, as for `logging.Formatter`.
        logging_config: A `LoggingConfig`, for everything that the program logs.
        faults: What is to go wrong in workers, for tests: "kill:task:0.1" kills the worker before
            a tenth of all tasks. See `heliostat.testing.faults`.
        fault_seed: The same seed, the same faults in each worker.
        runtime_env: What worker processes are born with, unless a task or actor asks for more:
            see `heliostat.runtime_env.RuntimeEnv`.
        _tracing_startup_hook: "module:function", which sets up OpenTelemetry, here and in workers;
            tasks and calls of actors have spans then.
        others: Refused by name.

    Returns:
        The session's facts; also a context manager that ends it.

    Raises:
        RuntimeError: If a session exists already.
        ValueError: For a value out of range, and sizes for a cluster that has its own.
        ConnectionError, ImportError: If no cluster is there, or no Ray that fits it.

    Example:
        >>> import heliostat as ray
        >>> ray.shutdown()
        >>> context = ray.init(num_cpus=2)
        >>> ray.cluster_resources()["CPU"]
        2.0
        >>> ray.shutdown()
    """
    _refuse_unknown(others)
    if _tracing_startup_hook is not None:
        _tracing().load(_tracing_startup_hook)
    if include_dashboard:
        _showing.check(others)
    name, place = where(address, engine, local_mode=local_mode, known=NAMES)
    clustered = is_cluster(place)
    if clustered and include_dashboard:
        raise NotImplementedError("include_dashboard=True: a Ray cluster has its own; leave it out")
    options = InitOptions(
        engine=name,
        address=place,
        num_cpus=_whole("num_cpus", num_cpus, "" if clustered else "HELIOSTAT_NUM_CPUS"),
        num_gpus=_gpus(num_gpus, "" if clustered else "HELIOSTAT_NUM_GPUS"),
        resources=custom_resources(resources),
        object_store_memory=_store_memory(object_store_memory),
        object_spilling_directory=_directory(object_spilling_directory),
        namespace=_namespace(namespace),
        log_to_driver=log_to_driver is not False,
        fold_logs_s=_fold_logs_s(),
        logging=_logging(logging_config, logging_level, logging_format, configure_logging),
        tracing=_tracing_startup_hook or "",
        labels=_labels(labels),
        faults=_faults(faults, fault_seed, name),
        runtime_env=parse_runtime_env(runtime_env),
    )
    with _lock:
        existing = _engine
        if existing is None or ignore_reinit_error:
            engine_ = existing or _start(options)
            if include_dashboard:
                _showing.begin(others, shutdown if existing is None else None)
            return RayContext(engine_)
    raise RuntimeError(
        "heliostat.init() was called twice; call heliostat.shutdown() first, or pass "
        "ignore_reinit_error=True to keep the running session"
    )


def shutdown(_exiting_interpreter: bool = False, *, wait_for_processes: bool = True) -> None:
    """End the session: workers, actors and shared memory are gone when this returns.

    Calling it without a session does nothing.
    """
    global _engine
    del _exiting_interpreter, wait_for_processes  # it always waits, and exit is no different
    with _lock:
        try:
            _showing.end()
        finally:
            engine, _engine = _engine, None
            if engine is not None:
                engine.close()
            while _undo:
                _undo.pop()()


def is_initialized() -> bool:
    """Whether a session exists in this process."""
    return _engine is not None


def current_engine() -> Engine:
    """The session's engine; starts a session with defaults when there is none."""
    if _engine is not None:
        return _engine
    with _lock:
        return _engine or _start(_default_options())


def nodes() -> list[dict[str, Any]]:
    """The machines of the cluster: this one, or those of the Ray cluster."""
    state = current_engine().describe()
    return list(state.nodes) or [
        {
            "NodeID": state.node_id,
            "Alive": True,
            "NodeManagerAddress": "127.0.0.1",
            "NodeManagerHostname": os.uname().nodename,
            "NodeName": "127.0.0.1",
            "Resources": dict(state.total),
            "Labels": dict(state.labels),
        }
    ]


def cluster_resources() -> dict[str, float]:
    """What the cluster has, by resource name.

    Example:
        >>> import heliostat as ray
        >>> ray.cluster_resources()["CPU"] >= 1
        True
    """
    return dict(current_engine().describe().total)


def available_resources() -> dict[str, float]:
    """What of it is free now, by resource name; what is used up is left out."""
    return {name: left for name, left in current_engine().free().items() if left > 0}


def attach(engine: Engine) -> None:
    """Make `engine` the one of this process."""
    global _engine
    _engine = engine


def serve(engine: Engine) -> None:
    """Make `engine` the one of this worker process, to its very end: others end the session."""
    attach(engine)
    atexit.unregister(_at_exit)


def detach() -> Engine | None:
    """Take the engine away from this process, but do not end it; `attach` gives it back."""
    global _engine
    with _lock:
        engine, _engine = _engine, None
    return engine


def _default_options() -> InitOptions:
    return InitOptions(
        *where(None, None, local_mode=False, known=NAMES),
        num_cpus=_whole("num_cpus", None, "HELIOSTAT_NUM_CPUS"),
        num_gpus=_gpus(None, "HELIOSTAT_NUM_GPUS"),
        fold_logs_s=_fold_logs_s(),
    )


def _leave_to_parent() -> None:
    """A process that the user forked does not own its parent's session, and may start its own."""
    global _lock, _engine, _parents_engine
    _lock = threading.RLock()  # the parent's may be held by a thread that is not here
    # Kept, because its end would touch what belongs to the parent.
    _parents_engine, _engine = _engine or _parents_engine, None
    _showing.forget()


os.register_at_fork(after_in_child=_leave_to_parent)


def _start(options: InitOptions) -> Engine:
    module, _, class_name = NAMES[options.engine].partition(":")
    engine: Engine = getattr(importlib.import_module(module), class_name)(options)
    if options.tracing:
        engine = _tracing().start(options.tracing, engine)
    attach(engine)
    if options.logging:
        _undo.append(_logging_module().setup(options.logging, engine.describe().node_id))
    return engine


def _tracing() -> Any:
    return importlib.import_module("heliostat._core.tracing")


def _logging(config: Any, level: Any, format_: Any, configure: bool) -> tuple[Any, ...]:
    if config is None and level is None and format_ is None:
        return ()
    parsed: tuple[Any, ...] = _logging_module().parse(config, level, format_, configure=configure)
    return parsed


def _logging_module() -> Any:
    # Not above: importing `logging` takes as long as a good part of `import heliostat`.
    return importlib.import_module("heliostat._core.logging_config")


def _faults(faults: Sequence[str], seed: int, engine: str) -> str:
    if not faults:
        return ""
    from heliostat._core import fault_plan  # noqa: PLC0415 - for tests only

    if engine in ("inline", "ray"):
        raise ValueError(f"faults= strike worker processes of ours; engine={engine!r} has none")
    return fault_plan.parse(faults, seed)


def _whole(name: str, value: object, variable: str) -> int | None:
    text = os.environ.get(variable)
    if value is None and text:
        try:
            value, name = int(text), variable
        except ValueError:
            raise ValueError(f"{variable} must be a whole number, got {text!r}") from None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < 0:
        raise ValueError(f"{name} must be >= 0, got {value!r}")
    return int(value)


def _namespace(value: object) -> str:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"namespace must be a string, got {value!r}")
    return value or ""


def _gpus(value: object, variable: str) -> int | None:
    count = _whole("num_gpus", value, variable)
    if count and (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        from heliostat._gpus import check  # noqa: PLC0415 - most machines have none

        check(count, visible)
    return count


def _fold_logs_s() -> float:
    """How long equal lines of several workers are held back; 0 unless somebody asks for it."""
    name, text = _either("DEDUP_LOGS")
    if text not in ("", "0", "1"):
        raise ValueError(f"{name} must be 1 or 0, got {text!r}")
    if text != "1":
        return 0.0
    name, text = _either("DEDUP_LOGS_AGG_WINDOW_S")
    try:
        seconds = float(text or 5.0)
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds < math.inf:
        raise ValueError(f"{name} must be a number of seconds above 0, got {text!r}")
    return seconds


def _either(name: str) -> tuple[str, str]:
    """A variable of ours, or of Ray's; with what it is."""
    for whole in (f"HELIOSTAT_{name}", f"RAY_{name}"):
        if text := os.environ.get(whole):
            return whole, text
    return name, ""


def _labels(value: object) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    from heliostat._core.labels import parse_labels  # noqa: PLC0415 - few sessions have labels

    return parse_labels(value)


def _store_memory(value: int | None) -> int | None:
    if value is not None and (not isinstance(value, int) or value < 1 << 20):
        raise ValueError(f"object_store_memory must be at least 1 MiB in bytes, got {value!r}")
    return value


def _directory(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise TypeError(f"object_spilling_directory must be a path, got {value!r}")
    path = os.path.abspath(os.fspath(value))
    if os.path.exists(path) and not (os.path.isdir(path) and os.access(path, os.W_OK)):
        raise ValueError(f"object_spilling_directory={value!r} is no directory we may write to")
    return str(path)


# What Ray's init also takes, and that has no meaning or effect on one machine.
# They say how to do what is not done here (files on disk, a network), or where a dashboard is.
_HARMLESS = {
    "dashboard_host", "dashboard_port",
    "_node_ip_address", "_temp_dir",
}  # fmt: skip
_NOT_YET = (
    "job_config", "enable_resource_isolation", "cgroup_path", "system_reserved_cpu",
    "system_reserved_memory", "proxy_server_url",
    "_metrics_export_port", "_system_config",
)  # fmt: skip


def _refuse_unknown(others: Mapping[str, Any]) -> None:
    for name, value in others.items():
        if name in _HARMLESS or (name in _NOT_YET and value in (None, False)):
            continue
        if name in _NOT_YET:
            raise NotImplementedError(f"init({name}=...) is not offered yet; leave it out")
        raise TypeError(f"init() has no argument {name!r}")


def show() -> dict[str, str]:
    """Somebody in another process wants to see the session."""
    with _lock:
        return _showing.told(is_initialized())


refs.current_engine = current_engine


@atexit.register
def _at_exit() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        shutdown()
