"""DataParallelTrainer: run one loop on N ranks. Parses what the user says, once.

What it hands to the controller is a Job; it knows nothing of how a run goes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import heliostat
from heliostat.exceptions import ActorUnschedulableError
from heliostat.train._controller import Controller, Job
from heliostat.train._storage import kept_checkpoints, of_rank, read_log_of
from heliostat.train.backend import BackendConfig
from heliostat.train.callback import UserCallback
from heliostat.train.checkpoint import Checkpoint, locate
from heliostat.train.config import DataConfig, RunConfig, ScalingConfig
from heliostat.train.result import Result
from heliostat.train.validation_config import ValidationConfig

if TYPE_CHECKING:
    from heliostat.data import Dataset

__all__ = ["DataParallelTrainer"]

FOR_TUNE = ("stop", "progress_reporter", "log_to_file")


class DataParallelTrainer:
    """Runs a training loop on `scaling_config.num_workers` ranks at once.

    Args:
        train_loop_per_worker: The loop: a function of nothing, or of `train_loop_config`.
        train_loop_config: What the loop is given.
        backend_config: What joins the ranks; nothing if left out.
        scaling_config: How many ranks, and what each needs.
        run_config: Where results go, and how failures are met.
        datasets: Datasets by name, or functions that make them; "train" for the training data.
        dataset_config: Which datasets are split between the ranks.
        resume_from_checkpoint: What `get_checkpoint()` returns at a fresh start.
        metadata: Facts for `get_context().get_metadata()`.
        validation_config: The function that validates checkpoints that are reported with
            `validation=...`.

    Raises:
        TypeError: For an argument of the wrong type.
        ValueError: For an argument with a wrong value.
        NotImplementedError: For what Heliostat does not offer yet.

    Example:
        >>> import heliostat.train as train
        >>> def loop(config):
        ...     train.report({"rank": train.get_context().get_world_rank(), "lr": config["lr"]})
        >>> trainer = DataParallelTrainer(
        ...     loop, train_loop_config={"lr": 0.1},
        ...     run_config=train.RunConfig(storage_path="results", verbose=0))
        >>> trainer.fit().metrics
        {'rank': 0, 'lr': 0.1}
    """

    _arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Remember the arguments, for `replace`, also those of a user's own subclass."""
        trainer = super().__new__(cls)
        # Wrong arguments are __init__'s to complain about; unpickling gives none.
        with contextlib.suppress(TypeError):
            trainer._arguments = _by_name(cls, args, kwargs)
        return trainer

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        train_loop_config: dict[str, Any] | None = None,
        backend_config: BackendConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, Dataset | Callable[[], Dataset]] | None = None,
        dataset_config: DataConfig | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
        metadata: dict[str, Any] | None = None,
        validation_config: ValidationConfig | None = None,
    ) -> None:
        self.validation_config = _typed("validation_config", validation_config, ValidationConfig)
        self.train_loop_config = _typed("train_loop_config", train_loop_config, Mapping)
        self.train_loop_per_worker = train_loop_per_worker
        self._takes_config = _takes_config(train_loop_per_worker)
        self.backend_config = (
            _typed("backend_config", backend_config, BackendConfig) or BackendConfig()
        )
        self.scaling_config = (
            _typed("scaling_config", scaling_config, ScalingConfig) or ScalingConfig()
        )
        if self.scaling_config.is_open:
            raise ValueError(
                f"a trainer needs numbers, got {self.scaling_config}; what Tune is to choose goes "
                "into Tuner(trainer, param_space={'scaling_config': ScalingConfig(...)})"
            )
        self.run_config = _typed("run_config", run_config, RunConfig) or RunConfig()
        self.datasets = dict(_typed("datasets", datasets, Mapping) or {})
        self.dataset_config = _typed("dataset_config", dataset_config, DataConfig) or DataConfig()
        self.resume_from_checkpoint = _typed(
            "resume_from_checkpoint", resume_from_checkpoint, Checkpoint
        )
        self.metadata = dict(_typed("metadata", metadata, Mapping) or {})
        self._check_dataset_names()

    def fit(self) -> Result:
        """Train.

        Returns:
            What came out: metrics, the latest checkpoint, and where they are.

        Raises:
            TrainingFailedError: If it failed more often than `FailureConfig` allows.
            ActorUnschedulableError: If this machine does not have what is asked for.
            OSError: If `storage_path` cannot be written to.

        Example:
            >>> import heliostat.train as train
            >>> trainer = DataParallelTrainer(
            ...     lambda: train.report({"loss": 1.0}),
            ...     run_config=train.RunConfig(storage_path="results", verbose=0))
            >>> trainer.fit().metrics["loss"]
            1.0
        """
        self._check_run_config()
        self._check_resources()
        result = Controller(self._job(self._made_datasets())).run()
        if result.error is not None:
            raise result.error
        return result

    def replace(self, **overrides: Any) -> Self:
        """A copy of this trainer with some of its constructor's arguments replaced.

        Args:
            overrides: New values by argument name. A dict goes on top of the one there was, at
                every depth; anything else takes its place.

        Returns:
            A new trainer of the same class.

        Raises:
            TypeError: For a name that the constructor does not know; the known ones are listed.

        Example:
            >>> trainer = DataParallelTrainer(print, train_loop_config={"lr": 0.1, "epochs": 3})
            >>> trainer.replace(train_loop_config={"lr": 0.5}).train_loop_config
            {'lr': 0.5, 'epochs': 3}
        """
        known = _parameters(type(self))
        for name in overrides:
            if name not in known:
                raise TypeError(
                    f"{type(self).__name__} has no argument {name!r}; it has: {', '.join(known)}"
                )
        return type(self)(**_merged(self._arguments, overrides))

    @classmethod
    def restore(cls, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Self:
        """A trainer that goes on from the last checkpoint of the run in a directory.

        It is the same as a new one with the run's name: a loop is not kept on disk.

        Args:
            path: The run's directory, as in `Result.path`, or its address. The file system of
                a `run_config` that is given by name counts, too.
            args: The constructor's arguments, as the run had them.
            kwargs: The same by name; of `run_config` all but `name` and `storage_path` counts.

        Returns:
            The trainer; `fit` goes on from the last checkpoint, or begins if there is none.

        Raises:
            FileNotFoundError: If no run has written there.
            TypeError: If the loop, or what takes its place, was not given.

        Example:
            >>> DataParallelTrainer.restore("/tmp/no-such-run", print)
            Traceback (most recent call last):
            FileNotFoundError: no run has written to /tmp/no-such-run (there is no run.jsonl)
        """
        config = kwargs.get("run_config") or RunConfig()
        what = f"{cls.__name__}.restore(path=...)"
        where, remote = locate(what, path, config.storage_filesystem)
        read_log_of(where, remote)
        try:
            given = _by_name(cls, args, kwargs)
        except TypeError as error:
            raise TypeError(
                f"{cls.__name__}.restore({os.fspath(path)!r}) takes the constructor's arguments as "
                f"well, since the run's directory has no loop: {error}"
            ) from None
        config = given.get("run_config") or RunConfig()
        parent, name = os.path.split(where)
        place = {"name": name, "storage_path": parent, "storage_filesystem": remote}
        return cls(**{**given, "run_config": dataclasses.replace(config, **place)})

    @classmethod
    def can_restore(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> bool:
        """Whether the run in a directory has a checkpoint to go on from.

        Args:
            path: The run's directory, or its address.
            storage_filesystem: The file system that it is on; None for what the address says.

        Returns:
            Whether `fit` of a restored trainer would go on, rather than begin anew.

        Example:
            >>> DataParallelTrainer.can_restore("/tmp/no-such-run")
            False
        """
        what = f"{cls.__name__}.can_restore(path=...)"
        where, remote = locate(what, path, storage_filesystem)
        try:
            entries = read_log_of(where, remote)
        except FileNotFoundError:
            return False
        run = of_rank(where, remote)
        return any(run.has(kept.name) for kept in kept_checkpoints(entries))

    def _job(self, datasets: dict[str, Dataset]) -> Job:
        loop = self.train_loop_per_worker
        if self._takes_config:
            loop = functools.partial(loop, dict(self.train_loop_config or {}))
        config = self.train_loop_config
        return Job(
            title=type(self).__name__,
            loop=loop,
            config=None if config is None else dict(config),
            scaling=self.scaling_config,
            run_config=self.run_config,
            backend_config=self.backend_config,
            datasets=datasets,
            data_config=self.dataset_config,
            resume_from=self.resume_from_checkpoint,
            metadata=self.metadata,
            validation=self.validation_config,
        )

    def _made_datasets(self) -> dict[str, Dataset]:
        """The datasets, in memory.

        They are run before the ranks start, which may take every CPU there is, and once only,
        however often the ranks start again.
        """
        # A Dataset is not callable; a function that makes one is.
        made = {name: ds() if callable(ds) else ds for name, ds in self.datasets.items()}
        for name, dataset in made.items():
            self._check_dataset(name, dataset)
        ready = {}
        for name, dataset in made.items():
            with self.dataset_config.running(name):
                ready[name] = dataset.materialize()
        return ready

    def _check_dataset(self, name: str, dataset: Dataset) -> None:
        """Refuse a dataset that the loop cannot use, before it is run."""

    def _check_dataset_names(self) -> None:
        for name, dataset in self.datasets.items():
            if not isinstance(name, str):
                raise TypeError(f"datasets: names must be strings, got {name!r}")
            if not callable(dataset) and not hasattr(dataset, "iterator"):
                raise TypeError(
                    f"datasets[{name!r}] must be a heliostat.data.Dataset, got a "
                    f"{type(dataset).__name__}; wrap it with heliostat.data.from_pandas, "
                    "from_numpy, from_arrow or from_items"
                )
        split = self.dataset_config.datasets_to_split
        unknown = [] if split == "all" else [name for name in split if name not in self.datasets]
        if unknown:
            raise ValueError(
                f"DataConfig(datasets_to_split={split!r}) names {unknown}, but the datasets are: "
                f"{', '.join(map(repr, self.datasets)) or 'none'}"
            )

    def _check_run_config(self) -> None:
        for name in FOR_TUNE:
            if getattr(self.run_config, name) not in (None, False):
                raise ValueError(
                    f"RunConfig({name}=...) is for Tune and means nothing to a trainer; leave it "
                    "out, or give it to the Tuner"
                )
        for callback in self.run_config.callbacks or ():
            if not isinstance(callback, UserCallback):
                raise TypeError(
                    f"RunConfig(callbacks=[...]) of a trainer takes heliostat.train.UserCallback, "
                    f"got {callback!r}"
                )

    def _check_place(self) -> None:
        """The process that calls `fit` is where it is, and as it is."""
        scaling = self.scaling_config
        asked = {
            "accelerator_type": scaling.accelerator_type,
            "label_selector": scaling.label_selector,
            "worker_runtime_env": self.run_config.worker_runtime_env,
        }
        for name, value in asked.items():
            if value:
                raise ValueError(
                    f"num_workers=0 runs the loop in this process, which {name}={value!r} cannot "
                    "change; leave it out, or use num_workers=1 for a process of the rank's own"
                )

    def _check_resources(self) -> None:
        """Fail at once where waiting would be for ever."""
        workers = self.scaling_config.min_workers
        if workers == 0:
            self._check_place()
            return
        there = heliostat.cluster_resources()
        for name, each in self.scaling_config.worker_resources.items():
            asked = each * workers
            if asked > there.get(name, 0):
                raise ActorUnschedulableError(
                    f"{type(self).__name__} asks for {asked:g} {name} "
                    f"({workers} workers of {each:g}), but there are "
                    f"{there[name]:g} here; {_remedy(name)}"
                    if there.get(name)
                    else f"{type(self).__name__} asks for {asked:g} {name}, but there is none "
                    f"here; {_remedy(name)}"
                )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.scaling_config})"


def _remedy(resource: str) -> str:
    if resource == "GPU":
        return (
            "set use_gpu=False, add a node with GPUs to a cluster, or on one machine say "
            "heliostat.init(num_gpus=...) for GPUs that it did not see"
        )
    if resource == "CPU":
        return (
            "use fewer workers, less for each (resources_per_worker={'CPU': 0.5}), more nodes of a "
            "cluster, or on one machine heliostat.init(num_cpus=...)"
        )
    return f"declare it with heliostat.init(resources={{{resource!r}: ...}})"


def _typed(name: str, value: Any, kind: type) -> Any:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got {value!r}")
    return value


def _takes_config(loop: object) -> bool:
    """Whether the loop wants the config, by its signature."""
    if not callable(loop):
        raise TypeError(f"train_loop_per_worker must be a function, got {loop!r}")
    try:
        signature = inspect.signature(loop)
    except ValueError:  # some built-in functions have none
        return False
    parameters = [
        p
        for p in signature.parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
    ]
    needed = [
        p
        for p in signature.parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if len(needed) > 1 or any(p.kind is p.KEYWORD_ONLY for p in needed):
        raise ValueError(
            f"train_loop_per_worker takes nothing or the config, but {loop!r} needs "
            f"{', '.join(p.name for p in needed)}; bind the others with functools.partial"
        )
    return bool(needed or [p for p in parameters if p.kind is not p.VAR_POSITIONAL])


def _signature(cls: type) -> inspect.Signature:
    # By getattr: a class's own constructor is meant, never that of an instance.
    constructor: Callable[..., Any] = getattr(cls, "__init__")  # noqa: B009
    return inspect.signature(constructor)


def _parameters(cls: type) -> list[str]:
    """The arguments that the constructor knows; those of the parent too if it takes **kwargs."""
    parameters = list(_signature(cls).parameters.values())[1:]
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    known = [p.name for p in parameters if p.kind not in variadic]
    if any(p.kind is p.VAR_KEYWORD for p in parameters) and cls.__base__ is not None:
        known += [name for name in _parameters(cls.__base__) if name not in known]
    return known


def _by_name(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call of the constructor, each by its name."""
    signature = _signature(cls)
    arguments = signature.bind(None, *args, **kwargs).arguments
    named = dict(list(arguments.items())[1:])
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= named.pop(parameter.name, {})
    return named


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` on top of `below`; dicts are merged at every depth."""
    merged = dict(below)
    for name, value in above.items():
        there = merged.get(name)
        if isinstance(there, Mapping) and isinstance(value, Mapping):
            value = _merged(there, value)
        merged[name] = value
    return merged
