"""Where a user's function runs: the strategies as users write them, parsed once.

This is the only place where the keyword options of `map`, `map_batches`, `flat_map` and `filter`
are checked; below it there are frozen values.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypedDict

import heliostat
from heliostat.data._failures import RAISE, OnError
from heliostat.data._plan import DYNAMIC, Actors, Tasks, Udf, is_async
from heliostat.data.context import DataContext

__all__ = ["ActorPoolStrategy", "TaskPoolStrategy", "UdfOptions", "parse_tasks", "parse_udf"]

ON_ERROR = ("raise", "skip", "null", "quarantine")
Concurrency: TypeAlias = int | tuple[int, int] | tuple[int, int, int] | None


@dataclass(frozen=True)
class TaskPoolStrategy:
    """Run a function in tasks.

    Args:
        size: How many at once at most; None for as many as the machine takes.

    Raises:
        ValueError: if the size is below 1.

    Example:
        >>> TaskPoolStrategy(size=2)
        TaskPoolStrategy(size=2)
    """

    size: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise ValueError(f"size must be >= 1 (concurrency says it), got {self.size}")


class ActorPoolStrategy:
    """Run a callable class in a pool of actors, each with its own instance.

    Args:
        size: A pool of exactly this many; or
        min_size: this many from the beginning (default 1),
        max_size: and up to this many when there is work for more (default: one per CPU).
        initial_size: With how many to begin, between the two.
        max_tasks_in_flight_per_actor: How many blocks may wait at an actor (default: what the
            context says, or twice as many as it works on at once).
        max_concurrent_calls_per_actor: On how many blocks an actor works at once, in threads
            (default 1). What is around the function (reading, cutting into batches, making blocks
            of results) goes on meanwhile; the function itself is called by one at a time, or, if it
            is a coroutine, for as many batches or rows of a block at once (default 4),
        enable_true_multi_threading: unless this is true: then it must be safe to call from several.

    Raises:
        ValueError: if a number is below 1, or the sizes contradict each other.

    Example:
        >>> ActorPoolStrategy(size=2)
        ActorPoolStrategy(min_size=2, max_size=2, initial_size=2)
    """

    def __init__(
        self,
        *,
        size: int | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
        initial_size: int | None = None,
        max_tasks_in_flight_per_actor: int | None = None,
        max_concurrent_calls_per_actor: int | None = None,
        enable_true_multi_threading: bool | None = None,
    ) -> None:
        if size is not None:
            if min_size is not None or max_size is not None or initial_size is not None:
                raise ValueError("give either size, or min_size, max_size and initial_size")
            min_size = max_size = size
        self.min_size = 1 if min_size is None else min_size
        self.max_size = max_size
        self.initial_size = self.min_size if initial_size is None else initial_size
        calls = _at_least_one("max_concurrent_calls_per_actor", max_concurrent_calls_per_actor)
        self._asked = _at_least_one("max_tasks_in_flight_per_actor", max_tasks_in_flight_per_actor)
        self.max_concurrent_calls_per_actor = calls or 1
        self.enable_true_multi_threading = bool(enable_true_multi_threading)
        if self.min_size < 1:
            raise ValueError(f"the size of an actor pool must be >= 1, got {self.min_size}")
        if self.max_size is not None and self.max_size < self.min_size:
            raise ValueError(f"max_size={self.max_size} is below min_size={self.min_size}")
        if not self.min_size <= self.initial_size <= (self.max_size or self.initial_size):
            raise ValueError(
                f"initial_size={self.initial_size} is not between min_size={self.min_size} "
                f"and max_size={self.max_size}"
            )

    @property
    def max_tasks_in_flight_per_actor(self) -> int:
        """How many blocks may wait at an actor, as said here or in the context of this process."""
        return self._in_flight(DataContext.get_current())

    def _in_flight(self, context: DataContext) -> int:
        said = self._asked or context.max_tasks_in_flight_per_actor
        return said or 2 * self.max_concurrent_calls_per_actor

    def __repr__(self) -> str:
        return (
            f"ActorPoolStrategy(min_size={self.min_size}, max_size={self.max_size}, "
            f"initial_size={self.initial_size})"
        )


def _at_least_one(name: str, value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or value != int(value) or value < 1):
        raise ValueError(f"{name} must be an int >= 1, got {value!r}")
    return value


def parse_udf(
    fn: Callable[..., Any],
    options: Mapping[str, Any],
    on_error: OnError = RAISE,
    context: DataContext | None = None,
) -> tuple[Udf, Tasks | Actors]:
    """Check everything a user may say about a function, and make two values of it.

    Args:
        fn: The function or callable class.
        options: See `UdfOptions`; what is not named there is an option of tasks or actors.
        on_error: What happens to a row for which it raises.
        context: What says so where the user does not; None for that of this process.

    Returns:
        What to call, and where.

    Raises:
        TypeError: if `fn` cannot be called.
        ValueError: if the options contradict each other.
    """
    if not callable(fn):
        raise TypeError(f"fn must be a function or a callable class, got {fn!r}")
    is_class = isinstance(fn, type)
    # Of its instances: to be called itself is what every class has from `type`.
    if isinstance(fn, type) and not any("__call__" in vars(one) for one in fn.__mro__):
        raise TypeError(f"{fn!r} has no __call__ method, with which it would take rows or batches")
    get = options.get
    if not isinstance(get("fn_kwargs") or {}, Mapping):
        raise TypeError(f"fn_kwargs must be a dict of arguments by name, got {get('fn_kwargs')!r}")
    constructor = get("fn_constructor_args"), get("fn_constructor_kwargs")
    if not is_class and constructor != (None, None):
        raise ValueError(
            "fn_constructor_args and fn_constructor_kwargs are for callable classes, "
            f"but fn is {fn!r}"
        )
    udf = Udf(
        fn,
        tuple(get("fn_args") or ()),
        dict(get("fn_kwargs") or {}),
        tuple(constructor[0] or ()),
        dict(constructor[1] or {}),
        on_error,
    )
    remote = {name: get(name) for name in _RESOURCES if get(name) is not None}
    remote.update((name, value) for name, value in options.items() if name not in _OWN)
    if remote.get(DYNAMIC, _check_options) is None:
        del remote[DYNAMIC]
    elif not callable(remote.get(DYNAMIC, _check_options)):
        raise TypeError(f"{DYNAMIC} must be a function, got {remote[DYNAMIC]!r}")
    strategy = _strategy(fn, is_class, get("compute"), get("concurrency"))
    _check_options(remote, is_class)
    if isinstance(strategy, TaskPoolStrategy):
        return udf, Tasks(strategy.size, tuple(remote.items()))
    if strategy.max_concurrent_calls_per_actor > 1 and is_async(fn):
        udf = replace(udf, at_once=strategy.max_concurrent_calls_per_actor)
    elif strategy.max_concurrent_calls_per_actor > 1:
        remote["max_concurrency"] = strategy.max_concurrent_calls_per_actor
        udf = replace(udf, in_turn=not strategy.enable_true_multi_threading)
    return udf, Actors(
        strategy.min_size,
        strategy.max_size,
        strategy.initial_size,
        strategy._in_flight(context or DataContext.get_current()),
        tuple(remote.items()),
    )


class UdfOptions(TypedDict, total=False):
    """Where and how a user's function runs. What is not told apart here is for its tasks or actors.

    Attributes:
        compute: Where it runs.
        concurrency: How many at once; `(min, max)` for a pool that grows.
        fn_args: Further positional arguments of the function.
        fn_kwargs: Keyword arguments of the function.
        fn_constructor_args: Positional arguments of the class.
        fn_constructor_kwargs: Keyword arguments of the class.
        num_cpus: CPUs for each task or actor.
        num_gpus: GPUs for each task or actor.
        memory: Bytes for each task or actor.
        ray_remote_args_fn: Gives further options, asked before each task or actor is started.
        on_error: What happens to a row for which the function raises, or which kills its process:
            `"raise"`, `"skip"` (left out), `"null"` (only for `map`) or `"quarantine"` (saved, with
            the reason, in `DataContext.quarantine_path`). A batch is halved until its failing rows
            are alone.
    """

    compute: Any
    concurrency: Concurrency
    fn_args: Iterable[Any] | None
    fn_kwargs: Mapping[str, Any] | None
    fn_constructor_args: Iterable[Any] | None
    fn_constructor_kwargs: Mapping[str, Any] | None
    num_cpus: float | None
    num_gpus: float | None
    memory: float | None
    ray_remote_args_fn: Callable[[], Mapping[str, Any]] | None
    on_error: str | None
    resources: Mapping[str, float]
    runtime_env: Any
    scheduling_strategy: Any
    accelerator_type: str
    label_selector: Mapping[str, str]
    max_calls: int
    max_retries: int
    retry_exceptions: Any
    max_restarts: int
    max_task_retries: int


_RESOURCES = ("num_cpus", "num_gpus", "memory")
# What is not passed on to tasks and actors as it is.
_OWN = (
    *(*_RESOURCES, "compute", "concurrency", "fn_args", "fn_kwargs"),
    *("fn_constructor_args", "fn_constructor_kwargs"),
)


def parse_on_error(
    action: str | None, verb: str, *, one_each: bool, context: DataContext | None = None
) -> OnError:
    """What a user said about rows for which a function raises, or files that cannot be read.

    Args:
        action: `raise`, `skip`, `null`, `quarantine`, or None for what the context says.
        verb: Who asks.
        one_each: It makes exactly one row of each, which may be null.
        context: What says so where the user does not; None for that of this process.

    Returns:
        The policy.

    Raises:
        ValueError: if it is unknown, cannot be done, or there is no place for failing rows.
    """
    context = context or DataContext.get_current()
    said = context.on_error if action is None else action
    if said not in ON_ERROR:
        raise ValueError(f"on_error must be one of {list(ON_ERROR)}, got {said!r}")
    if said == "null" and not one_each:
        raise ValueError(
            f"{verb}(on_error='null'): only map gives exactly one row for each, and readers of "
            "images, sounds and binary files one for each file; use 'skip' or 'quarantine'"
        )
    if said == "quarantine" and context.quarantine_path is None:
        raise ValueError(
            "on_error='quarantine' needs a place for the failing rows: set "
            "DataContext.get_current().quarantine_path"
        )
    return OnError(said, context.quarantine_path if said == "quarantine" else None)


def parse_tasks(concurrency: int | None, options: Mapping[str, Any]) -> Tasks:
    """The same for work that has no function of the user's.

    Args:
        concurrency: How many at once.
        options: Of its tasks.

    Returns:
        Where it runs.

    Raises:
        ValueError: if an option makes no sense.
    """
    if concurrency is not None and (not isinstance(concurrency, int) or concurrency < 1):
        raise ValueError(f"concurrency must be an int >= 1, got {concurrency!r}")
    _check_options(options, is_class=False)
    return Tasks(concurrency, tuple(options.items()))


def _strategy(
    fn: Any, is_class: bool, compute: Any, concurrency: Concurrency
) -> TaskPoolStrategy | ActorPoolStrategy:
    if compute == "tasks":
        compute = TaskPoolStrategy()
    elif compute == "actors":
        compute = ActorPoolStrategy()
    if compute is not None and concurrency is not None:
        raise ValueError("give either compute or concurrency, not both")
    if compute is None:
        compute = _from_concurrency(fn, is_class, concurrency)
    if not isinstance(compute, TaskPoolStrategy | ActorPoolStrategy):
        raise ValueError(
            f"compute must be a TaskPoolStrategy or an ActorPoolStrategy, got {compute!r}"
        )
    if is_class != isinstance(compute, ActorPoolStrategy):
        kind, other = ("class", "Actor") if is_class else ("function", "Task")
        raise ValueError(f"{fn!r} is a {kind}: use {other}PoolStrategy(...) instead of {compute!r}")
    return compute


def _from_concurrency(
    fn: Any, is_class: bool, concurrency: Concurrency
) -> TaskPoolStrategy | ActorPoolStrategy:
    numbers = concurrency if isinstance(concurrency, tuple) else (concurrency,)
    if concurrency is None:
        return ActorPoolStrategy() if is_class else TaskPoolStrategy()
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in numbers)
    if not whole or len(numbers) > 3:
        raise ValueError(
            f"concurrency must be an int, (min, max) or (min, max, initial), got {concurrency!r}"
        )
    if not isinstance(concurrency, tuple):
        return ActorPoolStrategy(size=concurrency) if is_class else TaskPoolStrategy(concurrency)
    if not is_class or len(numbers) < 2:
        raise ValueError(
            f"concurrency={concurrency!r} sizes a pool of actors, but {fn!r} is a function; "
            "give a single number"
        )
    minimum, maximum, *initial = numbers
    return ActorPoolStrategy(
        min_size=minimum, max_size=maximum, initial_size=initial[0] if initial else None
    )


def _check_options(options: Mapping[str, Any], is_class: bool) -> None:
    """Let Core parse them now, so that a mistake is told at the user's line."""

    def task() -> None: ...

    class Actor: ...

    options = {name: value for name, value in options.items() if name != DYNAMIC}
    if "num_returns" in options:
        raise ValueError("num_returns says nothing here: a function gives rows or batches")
    if options:
        heliostat.remote(**options)(Actor if is_class else task)
