"""The knobs of Data, and what an execution may use. An execution works on a copy, taken at its start."""

import contextlib
import dataclasses
import enum
import logging
import math
import os
import threading
from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from heliostat.data._failures import Retries

__all__ = ["DataContext", "ExecutionOptions", "ExecutionResources", "NodeIdStr", "ShuffleStrategy"]

logger = logging.getLogger(__name__)

# The context of the execution that a thread of the driver itself is a task of.
_THREAD = threading.local()

# The identifier of a machine, as text.
NodeIdStr: TypeAlias = str


@dataclasses.dataclass(frozen=True)
class ExecutionResources:
    """Amounts of resources; None where nothing is said.

    Args:
        cpu: CPUs.
        gpu: GPUs.
        object_store_memory: Bytes of blocks.
        memory: Bytes that tasks were given by `memory=`.

    Raises:
        ValueError: if an amount is negative or no number.

    Example:
        >>> ExecutionResources.for_limits(cpu=2).gpu
        inf
    """

    cpu: float | None = None
    gpu: float | None = None
    object_store_memory: float | None = None
    memory: float | None = None

    def __post_init__(self) -> None:
        for name in ("cpu", "gpu", "object_store_memory", "memory"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be >= 0, got {value!r}")

    @classmethod
    def for_limits(
        cls,
        cpu: float | None = None,
        gpu: float | None = None,
        object_store_memory: float | None = None,
        memory: float | None = None,
    ) -> "ExecutionResources":
        """Limits: what is not given is not limited.

        Args:
            cpu: CPUs.
            gpu: GPUs.
            object_store_memory: Bytes of blocks.
            memory: Bytes that tasks were given by `memory=`.

        Returns:
            Resources, infinite where nothing is said.
        """
        given = (cpu, gpu, object_store_memory, memory)
        return cls(*(math.inf if one is None else one for one in given))

    @classmethod
    def zero(cls) -> "ExecutionResources":
        """Nothing of anything.

        Returns:
            Resources.
        """
        return cls(0.0, 0.0, 0.0, 0.0)

    @classmethod
    def inf(cls) -> "ExecutionResources":
        """No limit for anything.

        Returns:
            Resources.
        """
        return cls.for_limits()

    @classmethod
    def from_resource_dict(cls, resource_dict: Mapping[str, float]) -> "ExecutionResources":
        """Of a dict as `cluster_resources` gives it, or as options of tasks are written.

        Args:
            resource_dict: `CPU` or `num_cpus`, `GPU` or `num_gpus`, `object_store_memory`, `memory`.

        Returns:
            Resources.

        Example:
            >>> ExecutionResources.from_resource_dict({"CPU": 2}).cpu
            2
        """
        return cls(
            resource_dict.get("CPU", resource_dict.get("num_cpus")),
            resource_dict.get("GPU", resource_dict.get("num_gpus")),
            resource_dict.get("object_store_memory"),
            resource_dict.get("memory"),
        )

    def copy(
        self,
        cpu: float | None = None,
        gpu: float | None = None,
        memory: float | None = None,
        object_store_memory: float | None = None,
    ) -> "ExecutionResources":
        """The same, but for what is given.

        Args:
            cpu: CPUs.
            gpu: GPUs.
            memory: Bytes that tasks were given by `memory=`.
            object_store_memory: Bytes of blocks.

        Returns:
            Resources.

        Example:
            >>> ExecutionResources(cpu=2, gpu=1).copy(cpu=3).cpu
            3
        """
        return ExecutionResources(
            self.cpu if cpu is None else cpu,
            self.gpu if gpu is None else gpu,
            self.object_store_memory if object_store_memory is None else object_store_memory,
            self.memory if memory is None else memory,
        )

    def to_resource_dict(self) -> dict[str, float]:
        """The same as a dict.

        Returns:
            `CPU`, `GPU`, `object_store_memory` and `memory`; 0 where nothing is said.
        """
        return {
            "CPU": self.cpu or 0.0,
            "GPU": self.gpu or 0.0,
            "object_store_memory": self.object_store_memory or 0,
            "memory": self.memory or 0,
        }


@dataclasses.dataclass
class ExecutionOptions:
    """How executions run; set on `DataContext.get_current().execution_options`.

    Args:
        resource_limits: `cpu`: how many tasks and calls of actors of an execution may run at once;
            `object_store_memory`: how many bytes it may hold in blocks. Limits of `gpu` and
            `memory` are not offered: give `num_gpus` or `memory` to the functions.
        exclude_resources: CPUs that are left to others: as many fewer run at once. Other resources
            are not offered.
        preserve_order: Rows keep their order, with or without this.
        actor_locality_enabled: There is one machine, so every actor is near,
        locality_with_output: and so is who takes the rows.
        verbose_progress: Progress for each stage; else for the last one only.
        label_selector: Labels of the machine, for every task and actor that says nothing of them.

    Raises:
        NotImplementedError: if a limit is given that is not offered.

    Example:
        >>> import heliostat as ray
        >>> options = ray.data.DataContext.get_current().execution_options
        >>> options.resource_limits = ExecutionResources(cpu=1)
        >>> ray.data.range(3).map(lambda row: row).count()
        3
        >>> options.resource_limits = ExecutionResources.inf()
    """

    resource_limits: ExecutionResources = dataclasses.field(default_factory=ExecutionResources.inf)
    exclude_resources: ExecutionResources = dataclasses.field(
        default_factory=ExecutionResources.zero
    )
    preserve_order: bool = False
    actor_locality_enabled: bool = True
    verbose_progress: bool = True
    label_selector: Mapping[str, str] | None = None
    locality_with_output: bool | Sequence[NodeIdStr] = False

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("resource_limits", "exclude_resources"):
            value = _checked(name, value)
        elif name not in _OPTIONS:
            raise AttributeError(f"ExecutionOptions have no {name!r}; they have {list(_OPTIONS)}")
        object.__setattr__(self, name, value)

    def task_limit(self, cpus: float) -> int | None:
        """How many tasks of an execution may run at once, if fewer than there is room for.

        Args:
            cpus: How many CPUs there are.

        Returns:
            A number of at least 1, or None.
        """
        allowed = min(_amount(self.resource_limits.cpu), cpus - (self.exclude_resources.cpu or 0))
        return None if allowed >= cpus else max(1, int(allowed))

    def budget(self, size_bytes: int) -> int:
        """What an execution may hold in blocks.

        Args:
            size_bytes: What it might hold without limits.

        Returns:
            Bytes.
        """
        return max(1, int(min(size_bytes, _amount(self.resource_limits.object_store_memory))))


def _amount(limit: float | None) -> float:
    return math.inf if limit is None else limit


_OPTIONS = tuple(one.name for one in dataclasses.fields(ExecutionOptions))
_OFFERED = {"resource_limits": ("cpu", "object_store_memory"), "exclude_resources": ("cpu",)}


def _checked(name: str, value: object) -> ExecutionResources:
    limits = name == "resource_limits"
    if value is None:
        return ExecutionResources.inf() if limits else ExecutionResources.zero()
    if not isinstance(value, ExecutionResources):
        raise TypeError(f"{name} must be ExecutionResources, got {value!r}")
    for resource in ("gpu", "object_store_memory", "memory"):
        amount = getattr(value, resource)
        if resource not in _OFFERED[name] and amount not in (None, math.inf if limits else 0):
            raise NotImplementedError(
                f"{name} of {resource}={amount!r} are not offered, "
                f"only of {' and '.join(_OFFERED[name])}"
            )
    return value


class ShuffleStrategy(enum.StrEnum):
    """Ray's ways to shuffle. There is one here, whichever is named; the rows are the same."""

    SORT_SHUFFLE_PULL_BASED = "sort_shuffle_pull_based"
    SORT_SHUFFLE_PUSH_BASED = "sort_shuffle_push_based"
    HASH_SHUFFLE = "hash_shuffle"
    SHUFFLE_V2 = "shuffle_v2"
    GPU_SHUFFLE = "gpu_shuffle"


@dataclasses.dataclass
class DataContext:
    """What may be set about executions; ordinary work needs none of it.

    What Ray's context has about its own machinery (which shuffle, which progress bar) is taken and
    kept, and said once to turn nothing here. Any other name is refused.

    Attributes:
        target_max_block_size: No task is given more bytes of input than this.
        target_min_block_size: Blocks are not cut into pieces smaller than this because of their
            size; a function that takes blocks as they are is given smaller ones whole.
        memory_budget_bytes: What one execution may hold in blocks; None takes a part of memory.
        override_object_store_memory_limit_fraction: The same as a share of the object store.
        read_op_min_num_blocks: How many tasks and blocks a reader makes, if it can and is not told.
        enable_fallback_to_arrow_object_ext_type: False refuses values that Arrow has no type for.
        max_errored_blocks: How many tasks may fail and be left out, -1 for any number.
        on_error: What happens to a row for which a function raises, and to a file that cannot be
            read, where verb or reader do not say: `raise`, `skip`, `null` or `quarantine`.
        quarantine_path: A directory for failing rows and paths of such files, one JSON a line.
        retried_map_errors: Which errors of functions have their task tried again: True for all,
            or texts that their messages have (or regular expressions that match).
        max_map_retries: How often at most; 0, as in Ray, is never, whatever `retried_map_errors` says.
        actor_task_retry_on_errors: The same for pools of actors: True, or classes of errors. Up to
            three times, if `max_map_retries` says nothing.
        actor_init_retry_on_errors: Whether a class whose constructor raises is made again,
        actor_init_max_retries: up to so many times; -1 for any number.
        retried_io_errors: Texts (or regular expressions) of errors of stores beyond this machine
            that are tried again though they look final.
        execution_no_progress_timeout_s: How long tasks may run without any of them ending, until
            the execution ends in an ExecutionTimeoutError; -1 for ever.
        wait_for_min_actors_s: How long actors of a pool may take to start, until the execution ends
            in a GetTimeoutError; -1 for ever.
        max_tasks_in_flight_per_actor: How many blocks may wait at an actor, where its pool does not
            say.
        raise_original_map_exception: Raise what a function raised, without RayTaskError around it.
        enable_progress_bars: Whether executions show how far they have come.
        enable_operator_progress_bars: For each stage; else for the last one only.
        enable_auto_log_stats: Log what each execution did, as `Dataset.stats` has it.
        print_on_execution_start: Log each execution's plan when it begins.
        custom_execution_callback_classes: Subclasses of
            `heliostat.data.executions.ExecutionCallback`, told of each execution.
        checkpoint_config: A `heliostat.data.checkpoint.CheckpointConfig`: writes of files go on
            where a killed run stopped.
        execution_options: How executions run: limits, labels, how much progress is shown.
        enable_stats_summary_collection: Whether `list_stats_summaries` has what executions did.

    Example:
        >>> DataContext.get_current().target_max_block_size = 64 * 1024 * 1024
        >>> DataContext.get_current().target_max_block_size = 128 * 1024 * 1024
    """

    target_max_block_size: int = 128 << 20
    target_min_block_size: int = 1 << 20
    memory_budget_bytes: int | None = None
    override_object_store_memory_limit_fraction: float | None = None
    read_op_min_num_blocks: int | None = None
    enable_fallback_to_arrow_object_ext_type: bool | None = None
    max_errored_blocks: int = 0
    on_error: str = "raise"
    quarantine_path: str | None = None
    retried_map_errors: bool | Sequence[str] = False
    max_map_retries: int = 0
    actor_task_retry_on_errors: bool | Sequence[type[BaseException]] = False
    actor_init_retry_on_errors: bool = False
    actor_init_max_retries: int = 3
    retried_io_errors: Sequence[str] = ()
    execution_no_progress_timeout_s: float = -1
    wait_for_min_actors_s: float = -1
    max_tasks_in_flight_per_actor: int | None = None
    raise_original_map_exception: bool = False
    enable_progress_bars: bool = True
    enable_operator_progress_bars: bool = True
    enable_auto_log_stats: bool = False
    print_on_execution_start: bool = False
    custom_execution_callback_classes: list[Any] = dataclasses.field(default_factory=list)
    checkpoint_config: Any = None
    execution_options: ExecutionOptions = dataclasses.field(default_factory=ExecutionOptions)
    enable_stats_summary_collection: bool = False
    _configs: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    _kept: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    # The process in which it was made.
    _pid: int = dataclasses.field(default_factory=os.getpid, repr=False)

    _current: ClassVar["DataContext | None"] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def get_current(cls) -> "DataContext":
        """The context of this process, to read or to change; in a worker, that of the execution."""
        mine: DataContext | None = getattr(_THREAD, "context", None)
        if mine is not None:
            return mine
        with cls._lock:
            if DataContext._current is None:
                DataContext._current = DataContext()
            return DataContext._current

    def copy(self) -> "DataContext":
        """A copy, which later changes do not reach."""
        return dataclasses.replace(
            self,
            execution_options=dataclasses.replace(self.execution_options),
            custom_execution_callback_classes=list(self.custom_execution_callback_classes),
            _configs=dict(self._configs),
            _kept=dict(self._kept),
            _pid=os.getpid(),
        )

    def adopt(self) -> None:
        """Be the context of this process, if it is another than the one that made it."""
        if os.getpid() != self._pid:
            DataContext._current = self

    @contextlib.contextmanager
    def adopted(self) -> Generator[None]:
        """Be it for a while, where others use the process afterwards: or now, as the driver itself."""
        if os.getpid() == self._pid:  # others go on in other threads
            before, _THREAD.context = getattr(_THREAD, "context", None), self
            try:
                yield
            finally:
                _THREAD.context = before
            return
        outer, DataContext._current = DataContext._current, self
        try:
            yield
        finally:
            DataContext._current = outer

    def retries(self) -> Retries:
        """Which errors of functions have their task tried again."""
        errors, kinds = self.retried_map_errors, self.actor_task_retry_on_errors
        return Retries(
            errors if isinstance(errors, bool) else tuple(errors),
            self.max_map_retries,
            kinds if isinstance(kinds, bool) else tuple(kinds),
        )

    def get_config(self, key: str, default: Any = None) -> Any:
        """What `set_config` was given, or the default; for your own functions and sources."""
        return self._configs.get(key, default)

    def set_config(self, key: str, value: Any) -> None:
        """Keep a value; functions find it in the context of the process they run in."""
        self._configs[key] = value

    def remove_config(self, key: str) -> None:
        """Forget what `set_config` was given."""
        self._configs.pop(key, None)

    def __setattr__(self, name: str, value: object) -> None:
        if name in _FIELDS:
            object.__setattr__(self, name, _valid(name, value))
        elif name in _OF_RAY:
            if name not in self._kept:
                logger.warning(
                    "DataContext.%s is about Ray's own machinery; it turns nothing here", name
                )
            self._kept[name] = value
        else:
            raise AttributeError(f"DataContext has no {name!r}; it has {_names()}")

    def __getattr__(self, name: str) -> Any:
        if name in _OF_RAY:
            return self._kept.get(name, _OF_RAY[name])
        raise AttributeError(f"DataContext has no {name!r}; it has {_names()}")


def _names() -> list[str]:
    return sorted(one for one in _FIELDS if not one.startswith("_"))


def _valid(name: str, value: Any) -> Any:
    """What a knob is set to; raises where that makes no sense."""
    if name in ("retried_map_errors", "retried_io_errors") and isinstance(value, str):
        return (value,)
    if name in _LEAST and value is not None and not value >= _LEAST[name]:
        raise ValueError(f"DataContext.{name} must be >= {_LEAST[name]}, got {value!r}")
    return value


_LEAST = {
    **dict.fromkeys(("max_tasks_in_flight_per_actor", "read_op_min_num_blocks"), 1),
    **dict.fromkeys(("target_max_block_size", "target_min_block_size"), 1),
    **dict.fromkeys(("max_errored_blocks", "actor_init_max_retries"), -1),
    "max_map_retries": 0,
}
_FIELDS = frozenset(
    one.name for one in dataclasses.fields(DataContext) if not one.name.startswith("_")
) | {"_configs", "_kept", "_pid"}
# Knobs that choose between ways of Ray's to come by the same rows, with Ray's defaults.
_OF_RAY: dict[str, Any] = {
    "default_hash_shuffle_parallelism": 200,
    "downstream_capacity_backpressure_ratio": 2.0,
    "hash_shuffle_aggregator_health_warning_interval_s": 30,
    "hash_shuffle_reduce_batch_size": 16,
    "hash_shuffle_reduce_get_timeout_s": 1800.0,
    "large_args_threshold": 50 << 20,
    "max_consecutive_actor_init_deaths": 0,
    "memory_usage_poll_interval_s": 1,
    "min_hash_shuffle_aggregator_wait_time_in_s": 300,
    "min_parallelism": 200,
    "op_resource_reservation_ratio": 0.5,
    "scheduling_strategy": "SPREAD",
    "scheduling_strategy_large_args": "DEFAULT",
    "shuffle_compression": "zstd",
    "shuffle_input_batch_bytes": 1 << 30,
    "shuffle_strategy": ShuffleStrategy.SHUFFLE_V2,
    "streaming_read_buffer_size": 32 << 20,
    "warn_on_driver_memory_usage_bytes": 2 << 30,
}
_ON = """batch_to_block_arrow_format decoding_size_estimation enable_pandas_block
    enable_lineage_reconstruction_resource_accounting enable_progress_bar_name_truncation
    enable_tensor_extension_casting op_resource_reservation_enabled
    pipeline_push_based_shuffle_reduce_tasks use_arrow_tensor_v2 use_datasource_v2 use_ray_tqdm"""
_OFF = """accurate_map_phase_timing actor_prefetcher_enabled default_map_logical_memory_enabled
    enable_dynamic_output_queue_size_backpressure enable_get_object_locations_for_metrics
    enable_per_node_metrics enable_rich_progress_bars isolate_read_workers
    log_internal_stack_trace pandas_block_ignore_metadata per_stage_map_timing s3_try_create_dir
    trace_allocations use_disk_based_hash_shuffle use_legacy_dataset_ids use_polars
    use_polars_sort use_push_based_shuffle verbose_stats_logs"""
_NONE = """dataset_logger_id hash_aggregate_operator_actor_num_cpus_override
    hash_shuffle_operator_actor_num_cpus_override join_operator_actor_num_cpus_override
    max_hash_shuffle_aggregators max_hash_shuffle_finalization_batch_size
    object_store_memory_pressure_fraction object_store_reservation_overshoot_ratio
    output_backpressure_guard_release_interval_s"""
_OF_RAY.update(dict.fromkeys(_NONE.split()))
_OF_RAY.update(dict.fromkeys(_ON.split(), True) | dict.fromkeys(_OFF.split(), False))
