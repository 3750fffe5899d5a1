"""Dask on Heliostat: a scheduler that makes a task of each node of a Dask graph; Ray's `ray.util.dask`.

    dask.config.set(scheduler=ray_dask_get)    # or enable_dask_on_ray()

Needs Dask 2024.12 or newer. It is the one file that knows Dask.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import heliostat as ray
from heliostat.util import progress

try:
    dask: Any = importlib.import_module("dask")
    specs: Any = importlib.import_module("dask._task_spec")
    Callback: Any = importlib.import_module("dask.callbacks").Callback
    toposort: Any = importlib.import_module("dask.core").toposort
    utils: Any = importlib.import_module("dask.utils")
except ImportError as error:
    raise ImportError("heliostat.util.dask needs Dask: pip install 'dask>=2024.12'") from error

__all__ = [
    "ProgressBarCallback",
    "RayDaskCallback",
    "disable_dask_on_ray",
    "enable_dask_on_ray",
    "local_ray_callbacks",
    "ray_dask_get",
    "ray_dask_get_sync",
    "ray_dask_persist",
    "unpack_ray_callbacks",
]

Key = Hashable


class Callbacks(NamedTuple):
    """What is called when, of all callbacks together."""

    ray_presubmit: list[Callable[..., Any]]
    ray_postsubmit: list[Callable[..., Any]]
    # Of these two one for each callback, for the second is given what the first has made.
    ray_pretask: list[Callable[..., Any] | None]
    ray_posttask: list[Callable[..., Any] | None]
    ray_postsubmit_all: list[Callable[..., Any]]
    ray_finish: list[Callable[..., Any]]


class RayDaskCallback(Callback):  # type: ignore[misc]  # known where Dask is
    """Is told of a graph's tasks; made with functions, or subclassed with methods.

    Args:
        hooks: `ray_presubmit(task, key, deps)` may give a value in place of the task;
            `ray_postsubmit(task, key, deps, object_ref)`; `ray_pretask(key, object_refs)` and
            `ray_posttask(key, result, pre_state)`, in the worker; `ray_postsubmit_all(object_refs,
            dsk)`; `ray_finish(result)`.

    Raises:
        TypeError: For a hook of another name.

    Example:
        >>> from heliostat.util.dask import RayDaskCallback
        >>> with RayDaskCallback(ray_finish=print):
        ...     pass
    """

    ray_active: list[RayDaskCallback] = []  # noqa: RUF012 - those of all `with`s that are open

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        for name, function in hooks.items():
            if name not in Callbacks._fields:
                known = ", ".join(Callbacks._fields)
                raise TypeError(f"there is no hook {name!r}; there are {known}")
            setattr(self, f"_{name}", function)
        super().__init__()

    def __enter__(self) -> RayDaskCallback:
        self.register()
        return self

    def __exit__(self, *error: object) -> None:
        self.unregister()

    def register(self) -> None:
        """Listen to all graphs from now on."""
        RayDaskCallback.ray_active.append(self)

    def unregister(self) -> None:
        """Listen no more."""
        RayDaskCallback.ray_active.remove(self)


def unpack_ray_callbacks(cbs: Sequence[RayDaskCallback] | None) -> Callbacks:
    """What is called when, of these callbacks.

    Args:
        cbs: The callbacks.
    """
    each: dict[str, list[Any]] = {
        name: [getattr(one, f"_{name}", None) for one in cbs or ()] for name in Callbacks._fields
    }
    for name in Callbacks._fields:
        if name not in ("ray_pretask", "ray_posttask"):
            each[name] = [function for function in each[name] if function is not None]
    return Callbacks(**each)


@contextlib.contextmanager
def local_ray_callbacks(
    callbacks: Sequence[RayDaskCallback] | None = None,
) -> Iterator[list[RayDaskCallback]]:
    """The callbacks for one graph: those that are given, else those that listen to all.

    Args:
        callbacks: For this graph only.
    """
    yield list(RayDaskCallback.ray_active if callbacks is None else callbacks)


class ProgressBarCallback(RayDaskCallback):
    """Shows how far a graph has come, as the other libraries do."""

    def _ray_postsubmit_all(self, object_refs: Sequence[Any], dsk: Mapping[Key, Any]) -> None:
        left = list(dict.fromkeys(object_refs))
        with progress.line("Dask", unit="tasks", total=len(left)) as bar:
            while left:
                _, left = ray.wait(left, num_returns=1, timeout=None, fetch_local=False)
                bar.update(len(set(object_refs)) - len(left))


@ray.remote
def _run(
    node: Any,
    key: Key,
    needs: Sequence[Key],
    before: Sequence[Callable[..., Any] | None],
    after: Sequence[Callable[..., Any] | None],
    *values: Any,
) -> Any:
    states = [None if function is None else function(key, values) for function in before]
    result = node(dict(zip(needs, values, strict=True)))
    for function, state in zip(after, states, strict=True):
        if function is not None:
            function(key, result, state)
    return result


def ray_dask_get(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    """Compute keys of a Dask graph with a task for each node; Dask calls it as a scheduler.

    Args:
        dsk: The graph.
        keys: Which, in lists of lists.
        kwargs: `ray_remote_args` are the options of all tasks (`dask.annotate(ray_remote_args=...)`
            those of some); `ray_callbacks` are for this graph only; with `ray_persist` references
            are returned. `num_workers` and `pool` are Dask's for its threads, and there are none.

    Returns:
        The values, as the keys are nested.

    Raises:
        RayTaskError: If a task fails.

    Example:
        >>> from operator import add
        >>> from heliostat.util.dask import ray_dask_get
        >>> ray_dask_get({"x": 1, "y": (add, "x", 10)}, ["y", ["x"]])
        (11, (1,))
    """
    shared = kwargs.get("ray_remote_args") or {}
    options = {key: {**shared, **own} for key, own in _annotated(dsk).items()}
    if hasattr(dsk, "__dask_graph__"):  # an expression, as Dask's own `compute` has it
        dsk = dsk.__dask_graph__()
    graph: dict[Key, Any] = specs.convert_legacy_graph(utils.ensure_dict(dsk))
    with local_ray_callbacks(kwargs.get("ray_callbacks")) as callbacks:
        calls = unpack_ray_callbacks(callbacks)
        made: dict[Key, Any] = {}
        needs = {key: node.dependencies for key, node in graph.items()}
        for key in toposort(graph, dependencies=needs):
            made[key] = _submit(graph[key], key, made, options.get(key, shared), calls)
        wanted = _nested(keys, made)
        refs = [ref for ref in _flat(wanted) if isinstance(ref, ray.ObjectRef)]
        for function in calls.ray_postsubmit_all:
            function(refs, dsk)
        if kwargs.get("ray_persist"):
            result = _filled(wanted, {}, put=True)
        else:
            result = _filled(wanted, dict(zip(refs, ray.get(refs), strict=True)))
        for function in calls.ray_finish:
            function(result)
        return result


# Nothing is submitted by other threads, so that there is one way only.
ray_dask_get_sync = ray_dask_get


def enable_dask_on_ray(
    shuffle: str | None = "tasks", use_shuffle_optimization: bool | None = True
) -> Any:
    """Have all that Dask computes run here, from now on or for a `with`.

    Args:
        shuffle: Dask's method of shuffling dataframes.
        use_shuffle_optimization: False or True: shuffles are Dask's own either way.

    Returns:
        What `dask.config.set` does: a context manager that takes it back.

    Example:
        >>> import dask
        >>> from heliostat.util.dask import enable_dask_on_ray
        >>> with enable_dask_on_ray():
        ...     dask.delayed(lambda: 3)().compute()
        3
    """
    del use_shuffle_optimization  # it changes how fast Ray shuffles, and no result
    return dask.config.set(scheduler=ray_dask_get, **{"dataframe.shuffle.method": shuffle})


def disable_dask_on_ray() -> Any:
    """Have Dask use its own schedulers again.

    Returns:
        As `enable_dask_on_ray`.
    """
    return dask.config.set(scheduler=None, **{"dataframe.shuffle.method": None})


def ray_dask_persist(*args: Any, **kwargs: Any) -> Any:
    """`dask.persist` whose values stay in the object store, as references.

    Args:
        args: Collections.
        kwargs: As for `dask.persist`.
    """
    return dask.persist(*args, **{"scheduler": ray_dask_get, **kwargs, "ray_persist": True})


def _annotated(dsk: Any) -> dict[Key, Mapping[str, Any]]:
    """The options of tasks that have their own, by `dask.annotate`."""
    if hasattr(dsk, "__dask_annotations__"):
        told = dsk.__dask_annotations__().get("ray_remote_args", {})
        return dict(told)
    found: dict[Key, Mapping[str, Any]] = {}
    for layer in getattr(dsk, "layers", {}).values():
        own = (layer.annotations or {}).get("ray_remote_args")
        if own:
            found.update(dict.fromkeys(layer, own))
    return found


def _submit(
    node: Any, key: Key, made: Mapping[Key, Any], options: Mapping[str, Any], calls: Callbacks
) -> Any:
    """The value of a node that has one, or the reference of its task."""
    if isinstance(node, specs.DataNode):
        return node.value
    if isinstance(node, specs.Alias):
        return made[node.target]
    needs = sorted(node.dependencies, key=str)
    values = [made[need] for need in needs]
    for function in calls.ray_presubmit:
        instead = function(node, key, values)
        if instead is not None:
            return instead
    task = _run.options(**{"name": f"dask:{utils.key_split(key)}", **options})
    ref = task.remote(node, key, needs, calls.ray_pretask, calls.ray_posttask, *values)
    for function in calls.ray_postsubmit:
        function(node, key, values, ref)
    return ref


def _nested(keys: Any, made: Mapping[Key, Any]) -> Any:
    return tuple(_nested(key, made) for key in keys) if isinstance(keys, list) else [made[keys]]


def _flat(wanted: Any) -> Iterator[Any]:
    for one in wanted:
        if isinstance(wanted, tuple):
            yield from _flat(one)
        else:
            yield one


def _filled(wanted: Any, values: Mapping[Any, Any], *, put: bool = False) -> Any:
    """The same nesting with values for references; a leaf is a list of one."""
    if isinstance(wanted, tuple):
        return tuple(_filled(one, values, put=put) for one in wanted)
    (one,) = wanted
    if put:
        return one if isinstance(one, ray.ObjectRef) else ray.put(one)
    return values[one] if isinstance(one, ray.ObjectRef) else one
