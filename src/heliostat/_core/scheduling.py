"""Where work may run: strategies and label selectors, parsed once; and what they mean when it is asked for.

Loaded when somebody passes such an option. With one machine a strategy either fits it or never
will, so all that the engine has to keep is the place in a placement group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from heliostat._core.groups import GroupSpec, PlacementGroup
from heliostat._core.ids import NodeID
from heliostat._core.labels import Rule, parse_selector, unmet
from heliostat._core.options import UNIT, Place, Resources
from heliostat._core.resources import missing_for, remedy, together


class PlacementGroupSchedulingStrategy:
    """Run it with the resources of a placement group.

    Args:
        placement_group: The group; None for none.
        placement_group_bundle_index: Which bundle; -1 for any with room.
        placement_group_capture_child_tasks: Whether what it submits runs in the group too; None:
            as the task that asks.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.util.scheduling_strategies import PlacementGroupSchedulingStrategy
        >>> group = ray.util.placement_group([{"CPU": 1}])
        >>> @ray.remote
        ... def inside():
        ...     return ray.get_runtime_context().get_placement_group_id()
        >>> strategy = PlacementGroupSchedulingStrategy(group)
        >>> ray.get(inside.options(scheduling_strategy=strategy).remote()) == group.id.hex()
        True
        >>> ray.util.remove_placement_group(group)
    """

    def __init__(
        self,
        placement_group: PlacementGroup | None,
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: bool | None = None,
    ) -> None:
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks


class NodeAffinitySchedulingStrategy:
    """Run it on one machine, of which there is one.

    Args:
        node_id: The machine's id in hex, as `nodes()` tells it.
        soft: Run it elsewhere if there is no such machine.

    Raises:
        ValueError: For what is no id.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.util.scheduling_strategies import NodeAffinitySchedulingStrategy
        >>> here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        >>> ray.get(ray.remote(lambda: 1).options(scheduling_strategy=here).remote())
        1
    """

    def __init__(self, node_id: str, soft: bool) -> None:
        self.node_id = node_id if isinstance(node_id, str) else node_id.hex()
        self.soft = soft
        try:
            nil = NodeID.from_hex(self.node_id).is_nil()
        except ValueError:
            nil = True
        if nil:
            raise ValueError(
                f"node_id={node_id!r} is no id of a machine in hex; heliostat.nodes() lists them"
            )


class _Values:
    """An operator on the value of a label, with the values it compares to."""

    def __init__(self, *values: str) -> None:
        name = type(self).__name__
        if not values:
            raise ValueError(f'{name}() needs at least one value, as in {name}("a", "b")')
        for value in values:
            if not isinstance(value, str):
                raise ValueError(f"{name}() takes strings, got {value!r}")
        self.values = list(values)


class In(_Values):
    """The label is one of these values."""


class NotIn(_Values):
    """The label is none of these values, or is not there."""


class Exists:
    """The label is there."""


class DoesNotExist:
    """The label is not there."""


_OPERATORS: dict[type, str] = {
    In: "in", NotIn: "not in", Exists: "exists", DoesNotExist: "does not exist",
}  # fmt: skip
Expressions = Mapping[str, In | NotIn | Exists | DoesNotExist]


class NodeLabelSchedulingStrategy:
    """Run it on a machine with these labels; there is one, so it has them or never will.

    Args:
        hard: What the machine's labels have to be, by key.
        soft: What they should be.

    Raises:
        ValueError: If both are empty, or something is no operator.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.util.scheduling_strategies import Exists, NodeLabelSchedulingStrategy
        >>> labelled = NodeLabelSchedulingStrategy({"ray.io/node-id": Exists()})
        >>> ray.get(ray.remote(lambda: 1).options(scheduling_strategy=labelled).remote())
        1
    """

    def __init__(self, hard: Expressions, *, soft: Expressions | None = None) -> None:
        self.hard = _rules("hard", hard)
        self.soft = _rules("soft", soft)
        if not self.hard and not self.soft:
            raise ValueError("NodeLabelSchedulingStrategy needs a label in `hard` or `soft`")


def _rules(name: str, expressions: Expressions | None) -> list[Rule]:
    if expressions is None:
        return []
    if not isinstance(expressions, Mapping):
        raise ValueError(f'{name} must be a dict, as in {{"zone": In("a")}}, got {expressions!r}')
    for key, operator in expressions.items():
        if not isinstance(key, str) or type(operator) not in _OPERATORS:
            raise ValueError(
                f"{name}: {key!r}: {operator!r} is not a label and one of In(...), NotIn(...), "
                "Exists() and DoesNotExist()"
            )
    return [
        Rule(key, _OPERATORS[type(operator)], tuple(getattr(operator, "values", ())))
        for key, operator in expressions.items()
    ]


@dataclass(frozen=True, slots=True)
class InGroup:
    """In a bundle of a group; without a group: in none."""

    group: PlacementGroup | None
    index: int
    capture: bool | None


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What the options of a task or actor say about where it may run."""

    strategy: object = None  # "DEFAULT", "SPREAD", or an instance of a class above
    group: PlacementGroup | str | None = "default"
    index: int = -1
    capture: bool | None = None
    selector: tuple[Rule, ...] = ()
    fallbacks: tuple[tuple[Rule, ...], ...] = ()

    def in_group(self) -> InGroup | None:
        """The group it names, if it does; "default" when it leaves that open."""
        strategy = self.strategy
        if isinstance(strategy, PlacementGroupSchedulingStrategy):
            return InGroup(
                strategy.placement_group,
                strategy.placement_group_bundle_index,
                strategy.placement_group_capture_child_tasks,
            )
        if strategy is not None:
            return InGroup(None, -1, False)
        if isinstance(self.group, str):
            return None
        return InGroup(self.group, self.index, self.capture)


# Parsing


def parse(options: Mapping[str, Any], base: Scheduling | None) -> Scheduling | None:
    """The options about where to run, on top of `base`; None if they come to nothing.

    Raises:
        TypeError: A value of the wrong type.
        ValueError: A value that means nothing, or two that contradict each other.
    """
    fields = {_FIELDS[name][0]: _FIELDS[name][1](value) for name, value in options.items()}
    parsed = replace(base or Scheduling(), **fields)
    if isinstance(parsed.group, PlacementGroup) and parsed.strategy is not None:
        raise ValueError(
            "placement_group= and scheduling_strategy= both say where to run; use "
            "scheduling_strategy=PlacementGroupSchedulingStrategy(placement_group=...) alone"
        )
    return None if parsed == Scheduling() else parsed


def _strategy(value: object) -> object:
    if value in (None, "DEFAULT", "SPREAD"):
        return value
    if isinstance(value, PlacementGroupSchedulingStrategy):
        _group(value.placement_group)
        _index(value.placement_group_bundle_index)
        _capture(value.placement_group_capture_child_tasks)
        return value
    if isinstance(value, (NodeAffinitySchedulingStrategy, NodeLabelSchedulingStrategy)):
        return value
    raise (ValueError if isinstance(value, str) else TypeError)(
        'scheduling_strategy must be None, "DEFAULT", "SPREAD" or one of the strategies in '
        f"heliostat.util.scheduling_strategies, got {value!r}"
    )


def _group(value: object) -> object:
    if value is None or value == "default" or isinstance(value, PlacementGroup):
        return value
    raise TypeError(f'placement_group must be a PlacementGroup, None or "default", got {value!r}')


def _index(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"placement_group_bundle_index must be an int, got {value!r}")
    return value


def _capture(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise TypeError(f"placement_group_capture_child_tasks must be a bool or None, got {value!r}")


def _selector(value: object) -> tuple[Rule, ...]:
    return () if value is None else parse_selector("label_selector", value)


def _fallbacks(value: object) -> tuple[tuple[Rule, ...], ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"fallback_strategy must be a list of dicts, got {value!r}")
    for entry in value:
        if not isinstance(entry, Mapping) or list(entry) != ["label_selector"]:
            raise ValueError(
                f'fallback_strategy takes dicts like {{"label_selector": {{...}}}}, got {entry!r}'
            )
    return tuple(
        parse_selector("fallback_strategy's label_selector", entry["label_selector"] or {})
        for entry in value
    )


_FIELDS: dict[str, tuple[str, Any]] = {
    "scheduling_strategy": ("strategy", _strategy),
    "placement_group": ("group", _group),
    "placement_group_bundle_index": ("index", _index),
    "placement_group_capture_child_tasks": ("capture", _capture),
    "label_selector": ("selector", _selector),
    "fallback_strategy": ("fallbacks", _fallbacks),
}


# Meaning


def misfit(scheduling: Scheduling | None, node_id: str, labels: Mapping[str, str]) -> str:
    """Why the one machine is not where it may run, in words with the remedy; empty if it is."""
    if scheduling is None:
        return ""
    strategy = scheduling.strategy
    if isinstance(strategy, NodeAffinitySchedulingStrategy):
        if not strategy.soft and strategy.node_id != node_id:
            return (
                f"a machine with the id {strategy.node_id}; there is only {node_id}. Use that id, or "
                "soft=True"
            )
    elif isinstance(strategy, NodeLabelSchedulingStrategy):
        broken = unmet(labels, strategy.hard)
        if broken:
            return misfit_of_labels([broken], labels)
    broken_by = [unmet(labels, rules) for rules in (scheduling.selector, *scheduling.fallbacks)]
    return misfit_of_labels(broken_by, labels) if all(broken_by) else ""


def misfit_of_labels(broken: Sequence[Sequence[Rule]], labels: Mapping[str, str]) -> str:
    """In words, what labels are asked for (one of several ways), and how to have them."""
    wanted = ", or ".join(" and ".join(map(str, rules)) for rules in broken)
    example = {rule.key: rule.values[0] for rule in broken[0] if rule.operator == "in"}
    remedy = f"init(labels={example})" if example else "other labels: init(labels=...)"
    return (
        f"a machine with the label {wanted}; this one's labels are {dict(labels)}. Start the session "
        f"with {remedy}"
    )


def infeasible(spec: GroupSpec, total: Mapping[str, int], labels: Mapping[str, str]) -> str:
    """Why this machine can never give a placement group what it asks for; empty if it can."""
    if spec.strategy == "STRICT_SPREAD" and len(spec.bundles) > 1:
        return (
            f"a machine for each of its {len(spec.bundles)} bundles, and there is one; use "
            'strategy="SPREAD" or "PACK"'
        )
    broken = unmet(labels, spec.rules)
    if broken:
        return misfit_of_labels([broken], labels)
    lacks = missing_for(total, spec.bundles)
    if not lacks:
        return ""
    return f"more than there is: {lacks}. Ask for less, or {remedy(total, together(spec.bundles))}"


def place_of(
    scheduling: Scheduling | None, shape: Resources, who: str, around: Place | None
) -> Place | None:
    """The bundle it is to run in, if in any.

    Args:
        scheduling: What its options say.
        shape: What resources it asks for.
        who: What to call it in errors.
        around: The place of the task that asks.

    Raises:
        ValueError: If there is no such bundle, or the request is larger than the bundle.
    """
    wanted = None if scheduling is None else scheduling.in_group()
    inherited = around is not None and around[2]
    if wanted is None:  # it leaves it open: it runs where its parent wants its children to
        capture = None if scheduling is None else scheduling.capture
        capture = inherited if capture is None else capture
        group = PlacementGroup.of(around[0]) if capture and around is not None else None
        wanted = InGroup(group, -1 if scheduling is None else scheduling.index, capture)
    check_placement_group_index(wanted.group or PlacementGroup.empty(), wanted.index)
    if wanted.group is None or wanted.group.is_empty:
        return None
    _check_room(wanted.group, wanted.index, shape, who)
    capture = inherited if wanted.capture is None else wanted.capture
    return bytes(wanted.group.id), wanted.index, capture


def check_placement_group_index(placement_group: PlacementGroup, bundle_index: int) -> None:
    """Check that a group has a bundle of this number; -1 is any.

    Raises:
        ValueError: If it has not, or there is no group but a number.
    """
    count = 0 if placement_group.is_empty else placement_group.bundle_count
    if -1 <= bundle_index < count or bundle_index == -1:
        return
    if not count:
        raise ValueError(
            f"placement_group_bundle_index={bundle_index} without a placement group; leave it out"
        )
    raise ValueError(
        f"placement_group_bundle_index={bundle_index}: the group has bundles 0 to {count - 1}; -1 is "
        "any of them"
    )


def _check_room(group: PlacementGroup, index: int, shape: Resources, who: str) -> None:
    bundles = group.shapes()
    asked = range(len(bundles)) if index < 0 else (index,)
    for number in asked:
        there = dict(bundles[number])
        if all(units <= there.get(name, 0) for name, units in shape):
            return
    wanted = {name: units / UNIT for name, units in shape}
    where = "any bundle" if index < 0 else f"bundle {index}"
    raise ValueError(
        f"{who} asks for {wanted}, which is more than {where} of its placement group has: "
        f"{group.bundle_specs}. Ask for less, or make the group with larger bundles"
    )
