"""What a trial actor runs: functions, Trainable classes and trainers, all as one `Runnable`.

`with_parameters` and `with_resources` wrap functions and classes. Nothing here knows of other trials.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from numbers import Number
from typing import TYPE_CHECKING, Any, Protocol

import heliostat
from heliostat.train import Checkpoint, RunConfig, UserCallback
from heliostat.tune._resources import ONE_CPU, PlacementGroupFactory, Request, as_request
from heliostat.tune.error import TuneError
from heliostat.tune.registry import get_trainable
from heliostat.tune.trainable import Trainable

if TYPE_CHECKING:
    from heliostat.tune.session import Session


class Runnable(Protocol):
    """What a trial actor runs."""

    @property
    def name(self) -> str:
        """For people and directories."""

    def request(self, config: dict[str, Any]) -> PlacementGroupFactory:
        """What a trial with this config is admitted for."""

    def common_request(self, space: Mapping[str, Any]) -> PlacementGroupFactory | None:
        """What every trial of this space asks for; None when it depends on the config."""

    def run(self, session: "Session") -> Mapping[str, Any] | None:
        """Run a trial to its end; what is returned is its last report."""

    def close(self) -> None:
        """Let go of what was kept for a next trial."""


@dataclass(frozen=True)
class FunctionRunnable:
    """A function of the config that reports by itself, or returns or yields its metrics."""

    function: Callable[..., Any]

    @property
    def name(self) -> str:
        """The function's name."""
        return _name(self.function)

    def request(self, config: dict[str, Any]) -> PlacementGroupFactory:
        """What `with_resources` said; one CPU without."""
        asked = _requested(self.function)
        return ONE_CPU if asked is None else _settle(asked, config)

    def common_request(self, space: Mapping[str, Any]) -> PlacementGroupFactory | None:
        """What `with_resources` said, unless that was a function."""
        asked = _requested(self.function)
        return None if _is_function(asked) else self.request({})

    def run(self, session: "Session") -> Mapping[str, Any] | None:
        """Call the function."""
        outcome = self.function(session.order.config)
        if inspect.isgenerator(outcome):
            for value in outcome:
                session.report(_as_metrics(value))
            return None
        return None if outcome is None else _as_metrics(outcome)

    def close(self) -> None:
        """Nothing was kept."""


@dataclass(frozen=True)
class ClassRunnable:
    """A Trainable class, stepped until it is done or told to end."""

    cls: type[Trainable]
    save_every: int = 0
    save_at_end: bool = False
    reuse: bool = False
    # In a trial's process: what the last trial left, for the next one.
    _kept: list[Trainable] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The class's name."""
        return self.cls.__name__

    def request(self, config: dict[str, Any]) -> PlacementGroupFactory:
        """What the class says; one CPU if nothing."""
        asked = self.cls.default_resource_request(config)
        return ONE_CPU if asked is None else as_request(asked)

    def common_request(self, space: Mapping[str, Any]) -> PlacementGroupFactory | None:
        """One CPU, unless the class has its own way."""
        asks = self.cls.default_resource_request.__func__  # type: ignore[attr-defined]  # a method
        return ONE_CPU if asks is Trainable.default_resource_request.__func__ else None  # type: ignore[attr-defined]  # a method

    def run(self, session: "Session") -> None:
        """Make steps."""
        trainable = self._make(session)
        try:
            if checkpoint := session.get_checkpoint():
                with checkpoint.as_directory() as directory:
                    trainable.restore(directory)
            session.saver = trainable.save
            self._steps(trainable, session)
        except Exception:
            trainable.stop()
            raise
        except BaseException:
            # Told to end, not failed: the state is good.
            if self.save_at_end if session.saving is None else session.saving:
                session.save(trainable.save(session.stage()))
            self._leave(trainable)
            raise
        self._leave(trainable)

    def _make(self, session: "Session") -> Trainable:
        config = session.order.config
        if self._kept:
            kept = self._kept.pop()
            kept._session = session
            if kept.reset(copy.deepcopy(config)):
                return kept
            kept.stop()
        # A subclass of its own, so that setup() may ask for trial_id and logdir.
        made: Trainable = type(self.cls.__name__, (self.cls,), {"_session": session})(config)
        return made

    def _leave(self, trainable: Trainable) -> None:
        if self.reuse:
            self._kept.append(trainable)
        else:
            trainable.stop()

    def close(self) -> None:
        """No more trials in this process."""
        while self._kept:
            self._kept.pop().stop()

    def _steps(self, trainable: Trainable, session: "Session") -> None:
        done = False
        while not done:
            result = trainable.train()
            done = bool(result.pop("done", False))
            wanted = bool(result.pop("should_checkpoint", False))
            due = bool(self.save_every) and trainable.iteration % self.save_every == 0
            save = wanted or due or (done and self.save_at_end)
            saved = trainable.save(session.stage()) if save else None
            session.report(result, saved, delete_local=True)


@dataclass(frozen=True)
class TrainerRunnable:
    """A trainer: its own arguments are what is tuned, its reports are the trial's."""

    trainer: Any
    run_config: RunConfig = field(default_factory=RunConfig)

    @property
    def name(self) -> str:
        """The trainer's class."""
        return type(self.trainer).__name__

    def request(self, config: dict[str, Any]) -> PlacementGroupFactory:
        """What all ranks need together; the trial's own process needs nothing."""
        trainer = self._with(config) if "scaling_config" in config else self.trainer
        return PlacementGroupFactory([{}, trainer.scaling_config.total_resources])

    def _with(self, config: dict[str, Any], **more: Any) -> Any:
        """The trainer with a trial's config; how it scales may be a dict of what is other than its own."""
        scaling = config.get("scaling_config")
        if isinstance(scaling, Mapping):
            more["scaling_config"] = replace(self.trainer.scaling_config, **scaling)
        return self.trainer.replace(**{**config, **more})

    def common_request(self, space: Mapping[str, Any]) -> PlacementGroupFactory | None:
        """What its ranks need, unless their number is tuned."""
        return None if "scaling_config" in space else self.request({})

    def run(self, session: "Session") -> None:
        """Fit a copy of the trainer that has the trial's config."""
        path, beyond, attempt = session.order.path, session.order.beyond, session.order.attempt
        last = session.get_checkpoint()  # its own, or a donor's
        inside = replace(
            self.run_config,
            # Another run each time: it goes on from what the study knows, and from nothing newer.
            name="train" if attempt == 1 else f"train-{attempt}",
            storage_path=path if beyond is None else beyond.path(path),
            storage_filesystem=None if beyond is None else beyond.filesystem,
            # The study says what goes: others may be about to go on from it.
            checkpoint_config=replace(self.run_config.checkpoint_config, num_to_keep=None),
            callbacks=[*(self.run_config.callbacks or ()), _Forward(session)],
            verbose=0,
            stop=None,
            log_to_file=None,
        )
        given = {} if last is None else {"resume_from_checkpoint": last}
        self._with(session.order.config, **given, run_config=inside).fit()

    def close(self) -> None:
        """Nothing was kept."""


class _Forward(UserCallback):
    """Passes a trainer's reports on as the trial's."""

    def __init__(self, session: "Session") -> None:
        self._session = session

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        self._session.report(metrics[0], checkpoint)


@dataclass(frozen=True)
class _Resourced:
    """A function with the resources it needs."""

    inner: Callable[..., Any]
    resources: Request

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, **kwargs)


@dataclass(frozen=True)
class _Parametrized:
    """A function with large arguments that are stored once, not with each trial."""

    inner: Callable[..., Any]
    refs: dict[str, Any]

    def __call__(self, config: dict[str, Any]) -> Any:
        return self.inner(config, **_fetch(self.refs))


def with_resources(trainable: Any, resources: Any) -> Any:
    """Say what each trial of a trainable needs.

    Args:
        trainable: A function of the config, or a Trainable class.
        resources: A dict such as `{"cpu": 2, "gpu": 1}`, a PlacementGroupFactory, or a function from
            the config to one of these.

    Returns:
        The trainable, for `Tuner`.

    Raises:
        TypeError: It is neither; a trainer says what it needs in its ScalingConfig.

    Example:
        >>> from heliostat import tune
        >>> def trial(config):
        ...     return {"loss": config["x"]}
        >>> two_cpus = tune.with_resources(trial, {"cpu": 2})
    """
    request: Request = resources if _is_function(resources) else as_request(resources)
    if inspect.isclass(trainable) and issubclass(trainable, Trainable):

        def default_resource_request(cls: type, config: dict[str, Any]) -> PlacementGroupFactory:
            return _settle(request, config)

        body: dict[str, Any] = {"default_resource_request": classmethod(default_resource_request)}
        return type(trainable.__name__, (trainable,), body)
    if not _is_function(trainable):
        raise TypeError(
            f"with_resources() takes a function or a Trainable class, got {trainable!r}; what a "
            "trainer needs is said by its ScalingConfig"
        )
    return _Resourced(trainable, request)


def with_parameters(trainable: Any, **kwargs: Any) -> Any:
    """Give large objects to a trainable: stored once, shared by all trials.

    Args:
        trainable: A function `f(config, name=...)`, or a Trainable class whose
            `setup(config, name=...)` takes them.
        kwargs: The objects by name.

    Returns:
        The trainable, for `Tuner`.

    Raises:
        TypeError: It is neither.

    Example:
        >>> from heliostat import tune
        >>> def trial(config, data):
        ...     return {"loss": config["x"] * len(data)}
        >>> shared = tune.with_parameters(trial, data=list(range(1000)))
    """
    if function := getattr(trainable, "_function", None):
        return type(
            trainable.__name__, (trainable,), {"_function": with_parameters(function, **kwargs)}
        )
    if inspect.isclass(trainable) and issubclass(trainable, Trainable):
        refs = {name: heliostat.put(value) for name, value in kwargs.items()}
        inner = trainable.setup

        def setup(self: Trainable, config: dict[str, Any]) -> None:
            inner(self, config, **_fetch(refs))

        return type(trainable.__name__, (trainable,), {"setup": setup})
    if not _is_function(trainable):
        raise TypeError(
            f"with_parameters() takes a function or a Trainable class, got {trainable!r}"
        )
    return _Parametrized(trainable, {name: heliostat.put(value) for name, value in kwargs.items()})


def as_runnable(trainable: Any, run_config: RunConfig, *, reuse: bool = False) -> Runnable:
    """Whatever `Tuner` was given, as something a trial actor can run.

    Args:
        trainable: A function of the config, a Trainable class, a trainer, or a registered name.
        run_config: The study's; the checkpoint settings in it are the trials'.
        reuse: Whether an object of a Trainable class serves one trial after another, if it can.

    Returns:
        The runnable.

    Raises:
        TypeError: It is none of these.
        ValueError: Checkpoint settings that this kind of trainable cannot follow.
    """
    if isinstance(trainable, str):
        trainable = get_trainable(trainable)
    trainable = _unwrapped(trainable)
    keep = run_config.checkpoint_config
    trains = hasattr(trainable, "fit") and hasattr(trainable, "replace")
    if run_config.logging_config is not None and not trains:
        raise ValueError(
            f"RunConfig(logging_config={run_config.logging_config!r}) is for trainers; in a function "
            "or a Trainable class use logging.getLogger(...).setLevel(...)"
        )
    if inspect.isclass(trainable) and issubclass(trainable, Trainable):
        at_end = keep.checkpoint_at_end
        if at_end is None:
            at_end = trainable.save_checkpoint is not Trainable.save_checkpoint
        return ClassRunnable(trainable, keep.checkpoint_frequency or 0, at_end, reuse)
    if trains:
        own = trainable.run_config or RunConfig()
        if own.checkpoint_config == RunConfig().checkpoint_config:
            own = replace(own, checkpoint_config=keep)
        if own.logging_config is None:
            own = replace(own, logging_config=run_config.logging_config)
        return TrainerRunnable(trainable, own)
    if not _is_function(trainable):
        raise TypeError(
            f"Tuner takes a function of the config, a Trainable class or a trainer, got "
            f"{trainable!r}"
        )
    _check_takes_config(trainable)
    if keep.checkpoint_frequency or keep.checkpoint_at_end:
        raise ValueError(
            "checkpoint_frequency and checkpoint_at_end are for Trainable classes; a function saves "
            "when it calls tune.report(metrics, checkpoint=...)"
        )
    return FunctionRunnable(trainable)


def _unwrapped(trainable: Any) -> Any:
    """The function of a class that `wrap_function` has made; anything else as it is."""
    function = getattr(trainable, "_function", None)
    if function is None or not inspect.isclass(trainable) or not issubclass(trainable, Trainable):
        return trainable
    asked = trainable.default_resource_request({})
    return function if asked is None else _Resourced(function, trainable.default_resource_request)


def _check_takes_config(function: Callable[..., Any]) -> None:
    inner, given = function, dict[str, Any]()
    while isinstance(inner, _Resourced | _Parametrized):
        given |= inner.refs if isinstance(inner, _Parametrized) else {}
        inner = inner.inner
    try:
        signature = inspect.signature(inner)
    except ValueError:  # a builtin without a signature
        return
    try:
        signature.bind({}, **given)
    except TypeError as error:
        several = len(given) + 1 < len(signature.parameters) or bool(given)
        more = "; with_parameters() gives those beside the config by name" if several else ""
        raise TypeError(
            f"the function to tune must take the config: def {_name(inner)}(config): ..., "
            f"but its arguments are {signature}{f', and those given {sorted(given)}' if given else ''}"
            f" ({error}){more}"
        ) from error


def _is_function(value: Any) -> bool:
    return callable(value) and not inspect.isclass(value)


def _name(function: Any) -> str:
    while isinstance(function, _Resourced | _Parametrized):
        function = function.inner
    name = getattr(function, "__name__", None) or type(getattr(function, "func", function)).__name__
    return "lambda" if name == "<lambda>" else name


def _requested(function: Any) -> Request | None:
    while isinstance(function, _Resourced | _Parametrized):
        if isinstance(function, _Resourced):
            return function.resources
        function = function.inner
    return None


def _settle(request: Request, config: dict[str, Any]) -> PlacementGroupFactory:
    return request if isinstance(request, PlacementGroupFactory) else as_request(request(config))


def _as_metrics(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, Number):
        return {"_metric": value}
    raise TuneError(
        f"the function that is tuned must return or yield a dict of metrics, a number or None, "
        f"got {value!r}"
    )


def _fetch(refs: dict[str, Any]) -> dict[str, Any]:
    values: Iterator[Any] = iter(heliostat.get(list(refs.values())))
    return dict(zip(refs, values, strict=True))
