"""The knobs of Data, and what an execution may use. An execution works on a copy, taken at its start."""

import dataclasses
import math
import threading
from collections.abc import Mapping
from typing import ClassVar, TypeAlias

__all__ = ["DataContext", "ExecutionOptions", "ExecutionResources", "NodeIdStr"]

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
        actor_locality_enabled: There is one machine, so every actor is near.
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

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("resource_limits", "exclude_resources"):
            value = _checked(name, value)
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


@dataclasses.dataclass(slots=True)
class DataContext:
    """What may be set about executions; ordinary work needs none of it.

    Attributes:
        target_max_block_size: No task is given more bytes of input than this.
        target_min_block_size: Work is not cut into pieces smaller than this.
        memory_budget_bytes: What one execution may hold in blocks; None takes a part of memory.
        max_errored_blocks: How many tasks may fail and be left out, -1 for any number.
        on_error: What happens to a row for which a function raises, and to a file that cannot be
            read, where verb or reader do not say: `raise`, `skip`, `null` or `quarantine`.
        quarantine_path: The directory into which failing rows, and paths of such files, are
            written, one JSON a line.
        enable_progress_bars: Whether executions show how far they have come.
        execution_options: How executions run: limits, labels, how much progress is shown.
        enable_stats_summary_collection: Whether `list_stats_summaries` has what executions did.

    Example:
        >>> DataContext.get_current().target_max_block_size = 64 * 1024 * 1024
        >>> DataContext.get_current().target_max_block_size = 128 * 1024 * 1024
    """

    target_max_block_size: int = 128 << 20
    target_min_block_size: int = 1 << 20
    memory_budget_bytes: int | None = None
    max_errored_blocks: int = 0
    on_error: str = "raise"
    quarantine_path: str | None = None
    enable_progress_bars: bool = True
    execution_options: ExecutionOptions = dataclasses.field(default_factory=ExecutionOptions)
    enable_stats_summary_collection: bool = False

    _current: ClassVar["DataContext | None"] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def get_current(cls) -> "DataContext":
        """The context of this process, to read or to change.

        Returns:
            The one context.
        """
        with cls._lock:
            if DataContext._current is None:
                DataContext._current = DataContext()
            return DataContext._current

    def copy(self) -> "DataContext":
        """A copy, which later changes do not reach.

        Returns:
            A new context.
        """
        return dataclasses.replace(
            self, execution_options=dataclasses.replace(self.execution_options)
        )
