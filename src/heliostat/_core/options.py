"""Keyword options of tasks and actors, parsed once into frozen values.

The only place where they are validated: below it nothing checks again. An option that is
accepted does what it says; one that is known from Ray but not offered yet raises and says
what to use instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from heliostat._core.runtime_env import RuntimeEnv
    from heliostat._core.scheduling import Scheduling

Items = Literal["streaming", "dynamic"]  # "dynamic" never reaches an engine: see `_core.dynamic`
Resources = tuple[tuple[str, int], ...]
# A placement group, the number of a bundle (-1: any), and whether what runs there captures children.
Place = tuple[bytes, int, bool]

NODE_ID = "ray.io/node-id"  # the label that every machine has
UNIT = 10_000  # resources are counted in ten-thousandths, so that fractions add up exactly
# What programs ask a little of to be on one machine, as in Ray.
THIS_NODE = {"node:127.0.0.1": UNIT, "node:__internal_head__": UNIT}
_NONE: Resources = ()


class TaskOptions(NamedTuple):
    """What a task asks for, parsed."""

    num_returns: int | Items = 1
    resources: Resources = (("CPU", UNIT),)
    max_retries: int = 3
    retry_exceptions: bool | tuple[type[BaseException], ...] = False
    name: str = ""
    backpressure: int | None = None  # items that a stream may be ahead of its taker
    scheduling: Scheduling | None = None  # where it may run; None: anywhere
    max_calls: int | None = None  # None: 1 for tasks with a GPU, no limit for others
    runtime_env: RuntimeEnv | None = None  # None: as whoever asks for the task


class ActorOptions(NamedTuple):
    """What an actor asks for, parsed."""

    resources: Resources = _NONE
    name: str = ""
    namespace: str | None = None
    get_if_exists: bool = False
    detached: bool = False
    max_restarts: int = 0
    max_task_retries: int = 0
    max_concurrency: int | None = None
    concurrency_groups: tuple[tuple[str, int], ...] = ()
    out_of_order: bool | None = None
    max_pending_calls: int = -1
    scheduling: Scheduling | None = None
    runtime_env: RuntimeEnv | None = None


class MethodOptions(NamedTuple):
    """What one call of an actor's method asks for, parsed."""

    num_returns: int | Items = 1
    max_task_retries: int | None = None
    retry_exceptions: bool | tuple[type[BaseException], ...] = False
    name: str = ""
    backpressure: int | None = None
    concurrency_group: str = ""


_TASK, _ACTOR, _METHOD = TaskOptions(), ActorOptions(), MethodOptions()


def to_units(name: str, amount: object) -> int:
    """An amount of a resource in ten-thousandths.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is negative, no number, or finer than 1/10000.
    """
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise TypeError(f"{name} must be a number, got {amount!r}")
    if not 0 <= amount < float("inf"):
        raise ValueError(f"{name} must be >= 0, got {amount!r}; use 0 for work that only waits")
    units = round(amount * UNIT)
    if amount and not units:
        raise ValueError(f"{name}={amount!r} is finer than the smallest share, {1 / UNIT}")
    return units


def _count(option: str, least: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{option} must be an int, got {value!r}")
        if value < least:
            raise ValueError(f"{option} must be >= {least}, got {value}")
        return value

    return parse


def _num_returns(value: object) -> int | Items:
    if value is None:
        return 1
    if value in ("streaming", "dynamic"):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f'num_returns must be an int >= 0, "streaming" or "dynamic", got {value!r}')
    if value < 0:
        raise ValueError(f'num_returns must be >= 0, "streaming" or "dynamic", got {value}')
    return value


def _retry_exceptions(value: object) -> bool | tuple[type[BaseException], ...]:
    if isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple)) and all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in value
    ):
        return tuple(value)
    raise TypeError(
        f"retry_exceptions must be a bool or a list of exception classes, got {value!r}"
    )


def _text(option: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise TypeError(f"{option} must be a string, got {value!r}")
        return value

    return parse


def _actor_name(value: object) -> str:
    name = _text("name")(value)
    if value is not None and not name:
        raise ValueError("name must not be the empty string; leave it out for an unnamed actor")
    return name


def _namespace(value: object) -> str | None:
    if value == "":
        raise ValueError("namespace='' is none; use None for that of the session")
    return _text("namespace")(value) or None


def _flag(option: str) -> Callable[[object], bool]:
    def parse(value: object) -> bool:
        if not isinstance(value, bool):
            raise TypeError(f"{option} must be a bool, got {value!r}")
        return value

    return parse


def _lifetime(value: object) -> bool:
    if value not in (None, "detached", "non_detached"):
        raise ValueError(f'lifetime must be None, "detached" or "non_detached", got {value!r}')
    return value == "detached"


def _concurrency(value: object) -> int | None:
    return None if value is None else _count("max_concurrency", 1)(value)


def _task_retries(value: object) -> int | None:
    return None if value is None else _count("max_task_retries", -1)(value)


def _groups(value: object) -> tuple[tuple[str, int], ...]:
    """Names of groups and how many of their calls may run at once; as Ray, also a list of dicts."""
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        value = {group["name"]: group["max_concurrency"] for group in value}
    if not isinstance(value, Mapping):
        raise TypeError(f"concurrency_groups must be a dict of names to numbers, got {value!r}")
    for name in value:
        if not isinstance(name, str) or not name:
            raise TypeError(
                f"a concurrency group's name is a string that is not empty, got {name!r}"
            )
    return tuple(
        (name, _count(f"concurrency_groups[{name!r}]", 1)(most)) for name, most in value.items()
    )


def _out_of_order(value: object) -> bool | None:
    return None if value is None else _flag("allow_out_of_order_execution")(value)


def _pending_calls(value: object) -> int:
    most = _count("max_pending_calls", -1)(value)
    if most == 0:
        raise ValueError("max_pending_calls=0 would allow no call at all; use -1 for no limit")
    return most


def _backpressure(value: object) -> int | None:
    # As in Ray, -1 and None mean that the option was not given.
    return None if value in (None, -1) else _count(_BACKPRESSURE, 1)(value)


def _max_calls(value: object) -> int | None:
    return None if value is None else _count("max_calls", 0)(value)


def runtime_env(value: object) -> RuntimeEnv | None:
    """A `runtime_env`, parsed. Raises ValueError, TypeError, NotImplementedError."""
    if value is None:
        return None
    from heliostat._core.runtime_env import parse  # noqa: PLC0415 - most programs have none

    return parse(value)


_BACKPRESSURE = "_generator_backpressure_num_objects"
_RESOURCE_KEYS = {
    "num_cpus": "CPU",
    "num_gpus": "GPU",
    "memory": "memory",
    "object_store_memory": "object_store_memory",
}
_ACCELERATOR = "accelerator_type:"
_ACCELERATOR_SHARE = 0.001  # as Ray: who asks only wants it to be there
# Where work may run; parsed in `_core.scheduling`, which loads when one of them is given.
_SCHEDULING = (
    "scheduling_strategy", "placement_group", "placement_group_bundle_index",
    "placement_group_capture_child_tasks", "label_selector", "fallback_strategy",
)  # fmt: skip

# Options of Ray that mean nothing on one machine; accepted because they change nothing here.
_NO_EFFECT = {"enable_task_events": (True, False), "_num_objects_per_yield": (1, None)}

_LATER = {
    "enable_tensor_transport": "leave it out: tensors travel through shared memory",
    "_num_objects_per_yield": "yield the objects one after the other",
}

_TASK_PARSERS: dict[str, Callable[[Any], object]] = {
    "num_returns": _num_returns,
    "max_retries": _count("max_retries", -1),
    "retry_exceptions": _retry_exceptions,
    "name": _text("name"),
    _BACKPRESSURE: _backpressure,
    "max_calls": _max_calls,
    "runtime_env": runtime_env,
}
_ACTOR_PARSERS: dict[str, Callable[[Any], object]] = {
    "name": _actor_name,
    "namespace": _namespace,
    "get_if_exists": _flag("get_if_exists"),
    "lifetime": _lifetime,
    "max_restarts": _count("max_restarts", -1),
    "max_task_retries": _count("max_task_retries", -1),
    "max_concurrency": _concurrency,
    "concurrency_groups": _groups,
    "allow_out_of_order_execution": _out_of_order,
    "max_pending_calls": _pending_calls,
    "runtime_env": runtime_env,
}
_METHOD_PARSERS: dict[str, Callable[[Any], object]] = {
    "num_returns": _num_returns,
    "max_task_retries": _task_retries,
    "retry_exceptions": _retry_exceptions,
    "name": _text("name"),
    _BACKPRESSURE: _backpressure,
    "concurrency_group": _text("concurrency_group"),
}
_FIELDS = {
    "lifetime": "detached",
    "allow_out_of_order_execution": "out_of_order",
    _BACKPRESSURE: "backpressure",
}


def task_options(options: Mapping[str, Any], base: TaskOptions = _TASK) -> TaskOptions:
    """Parse the keyword options of a task on top of `base`.

    Raises:
        ValueError: An unknown option, or a value out of range.
        TypeError: A value of the wrong type.
        NotImplementedError: An option of Ray that is not offered; names the alternative.
    """
    if options.get("object_store_memory") is not None:
        raise ValueError(
            "object_store_memory= is for actors: no task sets shared memory aside; set the budget in "
            "init(object_store_memory=...)"
        )
    return base._replace(**_parse("task", options, _TASK_PARSERS, base))


def actor_options(options: Mapping[str, Any], base: ActorOptions = _ACTOR) -> ActorOptions:
    """Parse the keyword options of an actor on top of `base`; raises as `task_options`."""
    parsed = base._replace(**_parse("actor", options, _ACTOR_PARSERS, base))
    if parsed.get_if_exists and not parsed.name:
        raise ValueError("get_if_exists=True needs a name to look for; pass name=...")
    return parsed


def method_options(options: Mapping[str, Any], base: MethodOptions = _METHOD) -> MethodOptions:
    """Parse the keyword options of an actor's method on top of `base`; raises as `task_options`."""
    return base._replace(**_parse("method", options, _METHOD_PARSERS, None))


def _parse(
    what: str,
    options: Mapping[str, Any],
    parsers: Mapping[str, Callable[[Any], object]],
    base: TaskOptions | ActorOptions | None,
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    asked: dict[str, int] = {}
    where: dict[str, Any] = {}
    for option, value in options.items():
        if option in parsers:
            fields[_FIELDS.get(option, option)] = parsers[option](value)
        elif base is not None and option in _RESOURCE_KEYS:
            if value is not None:
                asked[_RESOURCE_KEYS[option]] = _whole_if_many(option, to_units(option, value))
        elif base is not None and option == "resources":
            asked.update(_custom(value))
        elif base is not None and option == "accelerator_type":
            asked.update(_accelerator(value))
        elif base is not None and option in _SCHEDULING:
            where[option] = value
        else:
            known = [*parsers, *_RESOURCE_KEYS, "resources", "accelerator_type", *_SCHEDULING]
            _refuse(what, option, value, known if base is not None else list(parsers))
    if asked and base is not None:
        merged = {**_kept(base.resources, options), **asked}
        fields["resources"] = tuple(
            (name, units) for name, units in sorted(merged.items()) if units
        )
    if where and base is not None:
        from heliostat._core import scheduling  # noqa: PLC0415 - few programs say where to run

        fields["scheduling"] = scheduling.parse(where, base.scheduling)
    return fields


def _kept(resources: Resources, options: Mapping[str, Any]) -> dict[str, int]:
    """Of the resources that were asked for before, those that no option replaces as a whole."""
    named = _RESOURCE_KEYS.values()
    kept = dict(resources)
    if options.get("accelerator_type"):
        kept = {name: n for name, n in kept.items() if not name.startswith(_ACCELERATOR)}
    if options.get("resources") is not None:
        kept = {n: u for n, u in kept.items() if n in named or n.startswith(_ACCELERATOR)}
    return kept


def _accelerator(value: object) -> dict[str, int]:
    if not _text("accelerator_type")(value):
        return {}
    return {f"{_ACCELERATOR}{value}": to_units("accelerator_type", _ACCELERATOR_SHARE)}


def _whole_if_many(option: str, units: int) -> int:
    if option == "num_gpus" and units > UNIT and units % UNIT:
        raise ValueError(
            f"num_gpus={units / UNIT:g}: more than one GPU must be a whole number of them"
        )
    return units


def custom_resources(value: object) -> Resources:
    """A mapping of resource names to amounts, parsed; raises as `task_options`."""
    return tuple(_custom(value).items())


def _custom(value: object) -> dict[str, int]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"resources must be a dict of names to amounts, got {value!r}")
    for name in ("CPU", "GPU"):
        if name in value:
            raise ValueError(f"resources={dict(value)!r}: use num_{name.lower()}s= for {name}")
    return {name: to_units(f"resources[{name!r}]", amount) for name, amount in value.items()}


def _refuse(what: str, option: str, value: object, known: list[str]) -> None:
    if option in _NO_EFFECT and value in _NO_EFFECT[option]:
        return
    if option in _LATER:
        if value is None:
            return
        raise NotImplementedError(f"{option}={value!r} is not offered yet; {_LATER[option]}")
    if option in _NO_EFFECT:
        raise NotImplementedError(
            f"{option}={value!r} is not offered; use one of {_NO_EFFECT[option]!r}"
        )
    kind = TypeError if what == "method" else ValueError  # as Ray
    raise kind(f"unknown {what} option {option!r}; the options are {', '.join(known)}")


class InitOptions(NamedTuple):
    """What `init` was asked for, parsed."""

    engine: str = "local"
    address: str = ""  # of a cluster, as the user wrote it
    num_cpus: int | None = None
    num_gpus: int | None = None
    resources: Resources = _NONE
    object_store_memory: int | None = None
    object_spilling_directory: str = ""
    namespace: str = ""
    log_to_driver: bool = True
    fold_logs_s: float = 0.0  # how long equal lines of other workers are held back; 0: never
    faults: str = ""  # what `fault_plan.parse` made
    tracing: str = ""  # a hook, "module:function"
    logging: tuple[Any, ...] = ()  # what `logging_config.parse` made
    labels: tuple[tuple[str, str], ...] = ()
    runtime_env: RuntimeEnv | None = None
