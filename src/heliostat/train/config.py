"""What a training asks for: how many ranks, where results go, what to keep, what to survive.

Plain frozen values, checked when they are made. This file knows nothing of actors or files.
Options of Ray that Heliostat cannot honour yet are refused by name, never ignored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from heliostat.train._names import check_name
from heliostat.train.logging_config import LoggingConfig
from heliostat.train.sync_config import SyncConfig

if TYPE_CHECKING:
    from heliostat.data import DataIterator, Dataset, ExecutionOptions

__all__ = [
    "CheckpointConfig",
    "DataConfig",
    "FailureConfig",
    "RunConfig",
    "ScalingConfig",
]

# All of them are met by the one machine there is.
PLACEMENT_STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK")


@dataclass(frozen=True)
class ScalingConfig:
    """How many ranks train together, and what each of them needs.

    Args:
        trainer_resources: Only None or {}: the controller runs in the process that calls `fit`
            and needs nothing.
        num_workers: The number of ranks, each an actor of its own; 0 runs the loop in this
            process. `(least, most)`: as many as there is room for, at the start and after a
            failure; and when there is room for more, a stored checkpoint is where they join in.
        use_gpu: Give every rank a GPU.
        resources_per_worker: What one rank needs, such as `{"CPU": 2}`. One CPU if left out,
            or one GPU with `use_gpu`.
        placement_strategy: "PACK", "SPREAD" or "STRICT_PACK": how ranks lie on the nodes of a
            Ray cluster; one machine meets them all.
        accelerator_type: The kind of GPU that ranks need; others than this machine's are refused.
        label_selector: Labels that the machine must have, for all ranks or a dict for each.
        use_tpu: Only False.
        topology: Only None.
        elastic_resize_monitor_interval_s: With `(least, most)`: how often to look for room.

    Raises:
        TypeError: For a value of the wrong type.
        ValueError: For a value out of range, or values that contradict each other.
        NotImplementedError: For what Heliostat does not offer yet.

    Example:
        >>> ScalingConfig(num_workers=2, resources_per_worker={"CPU": 2}).total_resources
        {'CPU': 4}
        >>> ScalingConfig(num_workers=4, use_gpu=True).total_resources
        {'GPU': 4}
    """

    trainer_resources: Mapping[str, float] | None = None
    num_workers: int | tuple[int, int] = 1
    use_gpu: bool = False
    resources_per_worker: Mapping[str, float] | None = None
    placement_strategy: str = "PACK"
    accelerator_type: str | None = None
    label_selector: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None
    use_tpu: bool = False
    topology: str | None = None
    elastic_resize_monitor_interval_s: float = 60.0

    def __post_init__(self) -> None:
        if self.is_open:
            return
        self._check_workers()
        _check_bool("use_gpu", self.use_gpu)
        self._check_resources()
        if self.placement_strategy not in PLACEMENT_STRATEGIES:
            raise ValueError(
                f"placement_strategy must be one of {', '.join(PLACEMENT_STRATEGIES)} on one "
                f"machine, got {self.placement_strategy!r}"
            )
        for name in ("use_tpu", "topology"):
            _refuse(name, getattr(self, name), "leave it out")
        self._check_places()
        if any((self.trainer_resources or {}).values()):
            raise NotImplementedError(
                f"trainer_resources={self.trainer_resources!r}: the controller runs in the "
                "process that calls fit() and takes no resources; leave it out"
            )

    def _check_workers(self) -> None:
        workers = self.num_workers
        if isinstance(workers, tuple):
            if len(workers) != 2:
                raise ValueError(f"num_workers must be a number or (least, most), got {workers!r}")
            for number in workers:
                _check_whole("num_workers", number, least=1)
            if workers[0] > workers[1]:
                raise ValueError(f"num_workers={workers!r}: the first must not be the larger one")
        else:
            _check_whole("num_workers", workers, least=0)
        interval = self.elastic_resize_monitor_interval_s
        if isinstance(interval, bool) or not isinstance(interval, (int, float)) or interval < 0:
            raise ValueError(
                f"elastic_resize_monitor_interval_s must be a number >= 0, got {interval!r}"
            )

    def _check_resources(self) -> None:
        asked = self.resources_per_worker
        if asked is None:
            return
        if not isinstance(asked, Mapping):
            raise TypeError(
                f"resources_per_worker must be a dict such as {{'CPU': 2}}, got {asked!r}"
            )
        for name, amount in asked.items():
            if not isinstance(name, str):
                raise TypeError(f"resources_per_worker: names must be strings, got {name!r}")
            if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not amount >= 0:
                raise ValueError(
                    f"resources_per_worker[{name!r}] must be a number >= 0, got {amount!r}"
                )
        gpus = asked.get("GPU")
        if self.use_gpu and gpus == 0:
            raise ValueError("use_gpu=True, but resources_per_worker says {'GPU': 0}; drop one")
        if gpus and not self.use_gpu:
            raise ValueError(
                f"resources_per_worker asks for {gpus} GPU, but use_gpu is False; set use_gpu=True"
            )

    def _check_places(self) -> None:
        if self.accelerator_type is not None and not isinstance(self.accelerator_type, str):
            raise TypeError(f"accelerator_type must be a name, got {self.accelerator_type!r}")
        asked = self.label_selector
        if asked is None or isinstance(asked, Mapping):
            return
        if not isinstance(asked, list | tuple) or not all(isinstance(a, Mapping) for a in asked):
            raise TypeError(f"label_selector must be a dict, or a list of dicts, got {asked!r}")
        if len(asked) != self.max_workers:
            raise ValueError(
                f"label_selector has {len(asked)} dicts for {self.max_workers} workers; give one "
                "for each, or a single dict for all"
            )

    def place_of(self, rank: int) -> dict[str, Any]:
        """Where a rank may run: options of its actor."""
        asked: dict[str, Any] = {}
        if self.accelerator_type is not None:
            asked["accelerator_type"] = self.accelerator_type
        labels = self.label_selector
        if labels:
            asked["label_selector"] = dict(labels if isinstance(labels, Mapping) else labels[rank])
        return asked

    @property
    def is_open(self) -> bool:
        """Whether Tune is to choose some of it; what it has chosen is checked then."""
        return any(map(_is_open, vars(self).values()))

    @property
    def worker_resources(self) -> dict[str, float]:
        """What one rank reserves, with the defaults filled in; nothing of amount 0."""
        if self.resources_per_worker is None:
            return {"GPU": 1} if self.use_gpu else {"CPU": 1}
        asked = dict(self.resources_per_worker)
        if self.use_gpu:
            asked.setdefault("GPU", 1)
        return {name: amount for name, amount in asked.items() if amount}

    @property
    def elasticity_enabled(self) -> bool:
        """Whether the number of ranks may change."""
        return isinstance(self.num_workers, tuple)

    @property
    def min_workers(self) -> int:
        """The smallest number of ranks."""
        return self.num_workers[0] if isinstance(self.num_workers, tuple) else self.num_workers

    @property
    def max_workers(self) -> int:
        """The largest number of ranks."""
        return self.num_workers[1] if isinstance(self.num_workers, tuple) else self.num_workers

    @property
    def total_resources(self) -> dict[str, float]:
        """What the whole training reserves, with as many ranks as it may have.

        Example:
            >>> ScalingConfig(num_workers=3).total_resources
            {'CPU': 3}
        """
        return {name: n * self.max_workers for name, n in self.worker_resources.items()}

    @property
    def num_cpus_per_worker(self) -> float:
        """The CPUs of one rank."""
        return self.worker_resources.get("CPU", 0)

    @property
    def num_gpus_per_worker(self) -> float:
        """The GPUs of one rank."""
        return self.worker_resources.get("GPU", 0)

    @property
    def additional_resources_per_worker(self) -> dict[str, float]:
        """What one rank reserves beside CPUs and GPUs."""
        return {k: v for k, v in self.worker_resources.items() if k not in ("CPU", "GPU")}


@dataclass(frozen=True)
class FailureConfig:
    """How often a training starts again after a failure.

    Args:
        max_failures: Restarts from the last checkpoint; 0 for none, -1 without limit.
        fail_fast: For Tune: whether one failed trial ends them all.
        controller_failure_limit: Only -1.
        max_preemption_failures: Has no meaning on one machine, which nobody takes away.
        relax_collectives_on_preemption: Has no meaning on one machine.
        preemption_grace_s: Has no meaning on one machine.

    Raises:
        TypeError: For a value of the wrong type.
        ValueError: For a value out of range.

    Example:
        >>> FailureConfig(max_failures=2).max_failures
        2
    """

    max_failures: int = 0
    fail_fast: bool | str = False
    controller_failure_limit: int = -1
    max_preemption_failures: int = -1
    relax_collectives_on_preemption: bool = False
    preemption_grace_s: float | None = None

    def __post_init__(self) -> None:
        _check_whole("max_failures", self.max_failures, least=-1)
        if self.fail_fast not in (True, False, "raise"):
            raise ValueError(f"fail_fast must be True, False or 'raise', got {self.fail_fast!r}")
        if self.fail_fast and self.max_failures != 0:
            raise ValueError(
                f"fail_fast={self.fail_fast!r} and max_failures={self.max_failures} contradict "
                "each other; drop one"
            )
        grace = self.preemption_grace_s
        if grace is not None and (not isinstance(grace, int | float) or not grace >= 0):
            raise ValueError(f"preemption_grace_s must be seconds >= 0, got {grace!r}")
        if self.controller_failure_limit != -1:
            raise NotImplementedError(
                f"controller_failure_limit={self.controller_failure_limit!r}: use max_failures, "
                "which counts every failure"
            )


@dataclass(frozen=True)
class CheckpointConfig:
    """Which checkpoints stay on disk.

    The latest one always stays, since a restart needs it.

    Args:
        num_to_keep: How many to keep; all if None.
        checkpoint_score_attribute: The metric to keep the best by; the latest are kept if None.
        checkpoint_score_order: "max" if more is better, "min" if less is.
        checkpoint_frequency: For trainers that save by themselves: every so many iterations;
            0 for never.
        checkpoint_at_end: For trainers that save by themselves: whether to save at the end.

    Raises:
        TypeError: For a value of the wrong type.
        ValueError: For a value out of range.

    Example:
        >>> CheckpointConfig(num_to_keep=2, checkpoint_score_attribute="loss",
        ...                  checkpoint_score_order="min").num_to_keep
        2
    """

    num_to_keep: int | None = None
    checkpoint_score_attribute: str | None = None
    checkpoint_score_order: Literal["max", "min"] = "max"
    checkpoint_frequency: int | None = None
    checkpoint_at_end: bool | None = None

    def __post_init__(self) -> None:
        if self.num_to_keep is not None:
            _check_whole("num_to_keep", self.num_to_keep, least=1)
        if self.checkpoint_score_order not in ("max", "min"):
            raise ValueError(
                f"checkpoint_score_order must be 'max' or 'min', got "
                f"{self.checkpoint_score_order!r}"
            )
        by = self.checkpoint_score_attribute
        if by is not None and not isinstance(by, str):
            raise TypeError(f"checkpoint_score_attribute must be the name of a metric, got {by!r}")
        if self.checkpoint_frequency is not None:
            _check_whole("checkpoint_frequency", self.checkpoint_frequency, least=0)
        if self.checkpoint_at_end is not None:
            _check_bool("checkpoint_at_end", self.checkpoint_at_end)


@dataclass(frozen=True)
class RunConfig:
    """Where a run's results go, under which name, and how it meets failures.

    Args:
        name: The directory of the run below `storage_path`. When it is used again, the run goes on
            from its last checkpoint, whether it came to its end or not. A new name if left out.
        storage_path: A directory, or an address such as `s3://bucket/runs`; `~/ray_results` if
            left out.
        storage_filesystem: The file system of pyarrow's or fsspec's that `storage_path` is on;
            None for what the address says.
        failure_config: What to survive.
        checkpoint_config: What to keep.
        callbacks: Objects to call as the run goes; `UserCallback` for Train.
        worker_runtime_env: The `runtime_env` of the ranks' processes, or of a study's trials.
        logging_config: How much Train says of itself.
        sync_config: A SyncConfig, which has nothing to say: all that a run writes goes to
            `storage_path` as it is written.
        verbose: 0 shows no progress. In Tune 2 prints a line for each report as well, 3 with all
            metrics.
        stop: For Tune only.
        progress_reporter: For Tune only.
        log_to_file: For Tune only: whether what a trial prints is kept in its directory, in `stdout`
            and `stderr`; or the name of one file for both, or the names of two.

    Raises:
        TypeError: For a value of the wrong type.
        ValueError: For a name that cannot be a directory.
        NotImplementedError: For what Heliostat does not offer yet.

    Example:
        >>> RunConfig(name="taxi", storage_path="/tmp/results").name
        'taxi'
    """

    name: str | None = None
    storage_path: str | os.PathLike[str] | None = None
    storage_filesystem: Any = None
    failure_config: FailureConfig = field(default_factory=FailureConfig)
    checkpoint_config: CheckpointConfig = field(default_factory=CheckpointConfig)
    callbacks: Sequence[Any] | None = None
    worker_runtime_env: Mapping[str, Any] | None = None
    logging_config: LoggingConfig | None = None
    sync_config: Any = None
    verbose: int | None = None
    stop: Any = None
    progress_reporter: Any = None
    log_to_file: Any = None

    def __post_init__(self) -> None:
        self._check_place()
        self._check_parts()
        if not isinstance(self.verbose, int | None) or (self.verbose or 0) not in range(4):
            raise ValueError(f"verbose must be 0 (silent), 1, 2 or 3, got {self.verbose!r}")
        if self.callbacks is not None and not isinstance(self.callbacks, list | tuple):
            raise TypeError(f"callbacks must be a list of callbacks, got {self.callbacks!r}")
        log_files(self.log_to_file)
        for name, kind in (("worker_runtime_env", Mapping), ("sync_config", SyncConfig)):
            given = getattr(self, name)
            if given is not None and not isinstance(given, kind):
                raise TypeError(f"{name} must be a {kind.__name__}, got {given!r}")

    def _check_place(self) -> None:
        if self.name is not None:
            check_name("RunConfig(name=...)", self.name)
        if self.storage_path is not None and not isinstance(self.storage_path, (str, os.PathLike)):
            raise TypeError(f"storage_path must be a path, got {self.storage_path!r}")
        if self.storage_path == "":
            raise ValueError("storage_path='' names no directory; '.' is the working directory")
        _check_filesystem(self.storage_filesystem)

    def _check_parts(self) -> None:
        # None means the default, as in Ray.
        if self.failure_config is None:
            object.__setattr__(self, "failure_config", FailureConfig())  # type: ignore[unreachable]
        if self.checkpoint_config is None:
            object.__setattr__(self, "checkpoint_config", CheckpointConfig())  # type: ignore[unreachable]
        for name, kind in (
            ("failure_config", FailureConfig),
            ("checkpoint_config", CheckpointConfig),
        ):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}")
        if self.logging_config is not None and not isinstance(self.logging_config, LoggingConfig):
            raise TypeError(f"logging_config must be a LoggingConfig, got {self.logging_config!r}")


class DataConfig:
    """Which datasets are split between the ranks.

    Subclass it and override `configure` to divide the data in another way.

    Args:
        datasets_to_split: "all", or the names of those that are split; every rank sees the
            whole of the others.
        execution_options: `heliostat.data.ExecutionOptions` for all datasets, or a dict of them by
            name; what a DataContext says if left out.
        enable_shard_locality: Has no meaning on one machine.

    Raises:
        TypeError: If `datasets_to_split` is neither "all" nor a list of names, or options are none.

    Example:
        >>> DataConfig(datasets_to_split=["train"]).datasets_to_split
        ['train']
    """

    # Give every rank the same number of rows, so that all see as many batches.
    equal = True

    def __init__(
        self,
        datasets_to_split: Literal["all"] | list[str] = "all",
        execution_options: Any = None,
        enable_shard_locality: bool = True,
    ) -> None:
        if datasets_to_split != "all" and not (
            isinstance(datasets_to_split, list)
            and all(isinstance(name, str) for name in datasets_to_split)
        ):
            raise TypeError(
                f"datasets_to_split must be 'all' or a list of names, got {datasets_to_split!r}"
            )
        is_by_name = isinstance(execution_options, Mapping)
        for given in execution_options.values() if is_by_name else (execution_options,):
            if given is not None and not hasattr(given, "resource_limits"):
                raise TypeError(
                    f"execution_options must be ExecutionOptions, or a dict of them, got {given!r}"
                )
        self.datasets_to_split = datasets_to_split
        self.execution_options = execution_options
        self.enable_shard_locality = enable_shard_locality

    def is_split(self, name: str) -> bool:
        """Whether the dataset of this name is divided between the ranks."""
        return self.datasets_to_split == "all" or name in self.datasets_to_split

    @staticmethod
    def default_ingest_options() -> ExecutionOptions:
        """How datasets run that no options are given for: as the DataContext says.

        Returns:
            A copy, to be changed and given to `DataConfig(execution_options=...)`.

        Example:
            >>> DataConfig.default_ingest_options().preserve_order
            False
        """
        from heliostat.data import DataContext  # noqa: PLC0415 - slow to load

        return DataContext.get_current().copy().execution_options

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Run the dataset of this name inside, with its options."""
        given = self.execution_options
        options = given.get(name) if isinstance(given, Mapping) else given
        if options is None:
            yield
            return
        from heliostat.data import DataContext  # noqa: PLC0415 - slow to load

        context = DataContext.get_current()
        before, context.execution_options = context.execution_options, options
        try:
            yield
        finally:
            context.execution_options = before

    def configure(
        self,
        datasets: dict[str, Dataset],
        world_size: int,
        worker_handles: list[Any] | None,
        worker_node_ids: list[str] | None,
        **kwargs: Any,
    ) -> list[dict[str, DataIterator]]:
        """Make every rank's view of every dataset.

        Args:
            datasets: The trainer's datasets by name.
            world_size: The number of ranks.
            worker_handles: The ranks' actors.
            worker_node_ids: The node of each rank.
            kwargs: Nothing yet.

        Returns:
            One dict of iterators by name for each rank.
        """
        shards: list[dict[str, DataIterator]] = [{} for _ in range(world_size)]
        for name, dataset in datasets.items():
            if self.is_split(name) and world_size > 1:
                iterators = list(dataset.streaming_split(world_size, equal=self.equal))
            else:
                iterators = [dataset.iterator()] * world_size
            for shard, iterator in zip(shards, iterators, strict=True):
                shard[name] = iterator
        return shards


def log_files(given: object) -> tuple[str, str] | None:
    """The names of the files for stdout and stderr that `log_to_file` asks for.

    Raises:
        TypeError: For what is neither True, False, a name nor two.
        ValueError: For what cannot be a name.
    """
    if given is None or given is False:
        return None
    names = ("stdout", "stderr") if given is True else given
    if isinstance(names, str):
        names = (names, names)
    if not (
        isinstance(names, tuple | list)
        and len(names) == 2
        and all(isinstance(name, str) for name in names)
    ):
        raise TypeError(
            f"log_to_file must be True, False, the name of a file or two of them, got {given!r}"
        )
    for name in names:
        check_name("log_to_file", name)
    return names[0], names[1]


@contextmanager
def writing_to(storage_path: str | os.PathLike[str]) -> Iterator[None]:
    """Tell whose fault it is when a first thing cannot be written there.

    Raises:
        OSError: As it came, with words about `storage_path`.
    """
    try:
        yield
    except OSError as error:
        raise type(error)(
            error.errno,
            f"storage_path={os.fspath(storage_path)!r} cannot be written to ({error.strerror}); "
            "give a directory that you may write to",
            error.filename,
        ) from error


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")


def _check_filesystem(given: Any) -> None:
    """One of pyarrow's or fsspec's, known by what they have: neither is loaded for that."""
    if given is None or hasattr(given, "type_name"):
        return
    if not (hasattr(given, "protocol") and hasattr(given, "open")):
        raise TypeError(
            "storage_filesystem must be a pyarrow.fs.FileSystem or one of fsspec's, got "
            f"{type(given).__name__}"
        )


def _check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def _is_open(value: object) -> bool:
    """Whether it stands for several in a search space, of which Train knows no more."""
    if isinstance(value, Mapping):
        return value.keys() == {"grid_search"} or any(map(_is_open, value.values()))
    return hasattr(value, "is_valid") and hasattr(value, "sample")


def _refuse(name: str, value: object, remedy: str) -> None:
    if value not in (None, False):
        raise NotImplementedError(f"{name}={value!r} is not offered yet; {remedy}")
