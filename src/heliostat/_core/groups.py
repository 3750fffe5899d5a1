"""Placement groups: resources that are set aside together, bundle by bundle. What users call.

Each function checks its input and calls the engine once. Loaded when somebody asks for it.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from heliostat._core.ids import ObjectID, PlacementGroupID, fresh
from heliostat._core.labels import Rule, parse_selector
from heliostat._core.options import NODE_ID, UNIT, Resources, to_units
from heliostat._core.refs import ObjectRef
from heliostat._core.session import current_engine

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


class GroupSpec(NamedTuple):
    """The making of one placement group: what an engine needs to know."""

    id: bytes
    bundles: tuple[Resources, ...]
    strategy: str
    name: str
    detached: bool
    rules: tuple[Rule, ...]  # what the machine has to be
    handle: bytes  # what `ready()` gives, pickled


class PlacementGroup:
    """A handle to a placement group; made by `heliostat.util.placement_group`.

    The group lives until it is removed or the session ends, whoever holds handles.

    Example:
        >>> import heliostat as ray
        >>> group = ray.util.placement_group([{"CPU": 1}], strategy="PACK")
        >>> ray.get(group.ready()) == group, group.bundle_specs, group.bundle_count
        (True, [{'CPU': 1.0}], 1)
        >>> ray.util.remove_placement_group(group)
    """

    def __init__(
        self, id: PlacementGroupID, bundle_cache: list[dict[str, float]] | None = None
    ) -> None:
        self.id = id
        self.bundle_cache = bundle_cache

    @staticmethod
    def empty() -> PlacementGroup:
        """A handle to no group."""
        return PlacementGroup(PlacementGroupID.nil())

    @staticmethod
    def of(id_: bytes) -> PlacementGroup:
        """A handle to the group of this identifier."""
        return PlacementGroup(PlacementGroupID(id_))

    @property
    def is_empty(self) -> bool:
        """Whether this is a handle to no group."""
        return self.id.is_nil()

    def ready(self) -> ObjectRef[PlacementGroup]:
        """A reference to this handle that is ready when the group has its resources.

        `get` of it raises TaskPlacementGroupRemoved if the group is removed before.
        """
        if self.is_empty:
            return current_engine().put(self)
        return current_engine().adopt(ObjectID(self.id))

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Wait until the group has its resources.

        Args:
            timeout_seconds: How long at most.

        Returns:
            Whether it has them.
        """
        if isinstance(timeout_seconds, bool) or not isinstance(timeout_seconds, (int, float)):
            raise TypeError(f"timeout_seconds must be a number, got {timeout_seconds!r}")
        timeout_s = max(0.0, timeout_seconds)
        ready = current_engine().wait([self.ready()._id], count=1, timeout_s=timeout_s)
        return bool(ready) and (self.is_empty or _row(self.id)["state"] == "CREATED")

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """The bundles, as dicts of resource names to amounts."""
        if self.bundle_cache is None:
            self.bundle_cache = [
                {name: units / UNIT for name, units in bundle} for bundle in self.shapes()
            ]
        return self.bundle_cache

    @property
    def bundle_count(self) -> int:
        """How many bundles it has."""
        return len(self.shapes())

    def shapes(self) -> tuple[Resources, ...]:
        """The bundles, parsed."""
        return () if self.is_empty else _shapes(bytes(self.id))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"PlacementGroup({self.id.hex()})"


@functools.lru_cache(maxsize=256)
def _shapes(id_: bytes) -> tuple[Resources, ...]:
    """The bundles of a group, which never change."""
    return _parse_bundles([dict(bundle) for bundle in _row(id_)["bundles"]])


def _row(id_: bytes) -> dict[str, Any]:
    for row in current_engine().records("placement_groups"):
        if row["placement_group_id"] == id_.hex():
            return row
    raise ValueError(f"placement group {id_.hex()} is not known here: its session has ended")


def placement_group(
    bundles: list[dict[str, float]],
    strategy: str | None = None,
    name: str = "",
    lifetime: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: dict[str, str] | None = None,
) -> PlacementGroup:
    """Set resources aside, all bundles at once or none; returns at once and has them later.

    Args:
        bundles: Resource names to amounts, a dict a bundle.
        strategy: "PACK" (the default), "SPREAD" and "STRICT_PACK" are the same on one machine;
            "STRICT_SPREAD" wants a machine for each bundle.
        name: A name to find it by in this namespace.
        lifetime: None or "detached"; either way it lives until it is removed or the session ends.
        bundle_label_selector: For each bundle, labels that its machine must have.
        topology_strategy: Instead of `strategy`, by label; "ray.io/node-id" is the machine.

    Returns:
        A handle; `ready()` and `wait()` tell when the resources are there.

    Raises:
        ValueError: For bundles, names and strategies that mean nothing, a name that is taken, and
            for what this machine can never give; it names what is missing.

    Example:
        >>> import heliostat as ray
        >>> group = ray.util.placement_group([{"CPU": 1}], name="docs")
        >>> group.wait(30), ray.util.get_placement_group("docs") == group
        (True, True)
        >>> ray.util.remove_placement_group(group)
    """
    shapes, rules = _parse(bundles, strategy, lifetime, bundle_label_selector, topology_strategy)
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}")
    specs = [{key: float(amount) for key, amount in bundle.items()} for bundle in bundles]
    group = PlacementGroup(PlacementGroupID(fresh()), specs)
    current_engine().create_group(
        GroupSpec(
            id=bytes(group.id),
            bundles=shapes,
            strategy=_machine_strategy(strategy, topology_strategy),
            name=name,
            detached=lifetime == "detached",
            rules=rules,
            handle=pickle.dumps(group),
        )
    )
    return group


def validate_placement_group(
    bundles: list[dict[str, float]],
    strategy: str | None = None,
    lifetime: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: dict[str, str] | None = None,
) -> None:
    """Check the arguments of `placement_group` without making one.

    Raises:
        ValueError: If one of them means nothing.
    """
    _parse(bundles, strategy, lifetime, bundle_label_selector, topology_strategy)


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Give the resources back; tasks and actors that run in the group are ended.

    What runs or waits in it raises TaskPlacementGroupRemoved or ActorDiedError from then on.

    Args:
        placement_group: The group. Removing it again does nothing.

    Raises:
        TypeError: For anything but a group.
    """
    if not isinstance(placement_group, PlacementGroup):
        raise TypeError(f"remove_placement_group() takes a PlacementGroup, got {placement_group!r}")
    if not placement_group.is_empty:
        current_engine().remove_group(bytes(placement_group.id))


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """The living group of that name in this namespace.

    Raises:
        ValueError: If there is none; lists the names there are.
    """
    name, namespace = placement_group_name, current_engine().describe().namespace
    if not isinstance(name, str) or not name:
        raise ValueError(f"a placement group's name is a string that is not empty, got {name!r}")
    named = {
        row["name"]: row["placement_group_id"]
        for row in current_engine().records("placement_groups")
        if row["name"] and row["state"] != "REMOVED" and row["ray_namespace"] == namespace
    }
    if name not in named:
        raise ValueError(f"no placement group is named {name!r}; there are: {sorted(named)}")
    return PlacementGroup(PlacementGroupID.from_hex(named[name]))


def get_current_placement_group() -> PlacementGroup | None:
    """The group that the task or actor that asks runs in; None in the driver.

    Example:
        >>> import heliostat as ray
        >>> ray.util.get_current_placement_group() is None
        True
    """
    place = current_engine().running().place
    return None if place is None else PlacementGroup.of(place[0])


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """What there is to know of a group; of all of them by id when it is left out.

    Groups that were removed are there too, the last 1,000 of them.

    Example:
        >>> import heliostat as ray
        >>> group = ray.util.placement_group([{"CPU": 1}])
        >>> group.wait(30), ray.util.placement_group_table(group)["state"]
        (True, 'CREATED')
        >>> ray.util.remove_placement_group(group)
    """
    if placement_group is not None:
        return _table(_row(placement_group.id))
    rows = current_engine().records("placement_groups")
    return {row["placement_group_id"]: _table(row) for row in rows}


def _table(row: Mapping[str, Any]) -> dict[str, Any]:
    node = row["node_id"] if row["state"] == "CREATED" else None
    bundles = dict(enumerate(row["bundles"]))
    return {
        "placement_group_id": row["placement_group_id"],
        "name": row["name"],
        "bundles": bundles,
        "bundles_to_node_id": row.get("bundles_to_node_id") or dict.fromkeys(bundles, node or ""),
        "strategy": row["strategy"],
        "state": row["state"],
        "stats": {"scheduling_state": row["state"], "reason": row["reason"]},
    }


# Parsing


def _parse(
    bundles: object,
    strategy: str | None,
    lifetime: str | None,
    selectors: object,
    topology: dict[str, str] | None,
) -> tuple[tuple[Resources, ...], tuple[Rule, ...]]:
    """The bundles, and what the machine must be."""
    if strategy is not None and topology is not None:
        raise ValueError(
            f"strategy and topology_strategy both say where bundles go; use {NODE_ID!r} in "
            "topology_strategy alone"
        )
    for value in (*(topology or {}).values(), *([] if strategy is None else [strategy])):
        if value not in STRATEGIES:
            raise ValueError(f"strategy {value!r} is not one of {', '.join(STRATEGIES)}")
    if lifetime not in (None, "detached"):
        raise ValueError(f'lifetime must be None or "detached", got {lifetime!r}')
    shapes = _parse_bundles(bundles)
    return shapes, _parse_selectors(selectors, len(shapes)) + _parse_topology(topology)


def _machine_strategy(strategy: str | None, topology: dict[str, str] | None) -> str:
    return (topology or {}).get(NODE_ID, "PACK") if strategy is None else strategy


def _parse_bundles(bundles: object) -> tuple[Resources, ...]:
    if not isinstance(bundles, list) or not bundles:
        raise ValueError(
            f'bundles must be a list of dicts that is not empty, as in [{{"CPU": 1}}], got {bundles!r}'
        )
    return tuple(_parse_bundle(index, bundle) for index, bundle in enumerate(bundles))


def _parse_bundle(index: int, bundle: object) -> Resources:
    if not isinstance(bundle, Mapping) or not all(isinstance(name, str) for name in bundle):
        raise ValueError(f"bundle {index} must be a dict of resource names to amounts: {bundle!r}")
    try:
        units = {name: to_units(f"bundles[{index}][{name!r}]", n) for name, n in bundle.items()}
    except TypeError as error:  # Ray's is a ValueError for anything about bundles
        raise ValueError(str(error)) from None
    if not any(units.values()):
        raise ValueError(f"bundle {index} asks for nothing: {bundle!r}; leave it out")
    if units.get("GPU", 0) > UNIT and units["GPU"] % UNIT:
        raise ValueError(
            f"bundle {index}: GPU={bundle['GPU']:g}: more than one GPU must be a whole number of them"
        )
    return tuple(sorted((name, amount) for name, amount in units.items() if amount))


def _parse_selectors(selectors: object, count: int) -> tuple[Rule, ...]:
    if selectors is None or selectors == []:
        return ()
    if not isinstance(selectors, Sequence) or len(selectors) != count:
        raise ValueError(
            f"bundle_label_selector must be a list with a dict for each of the {count} bundles, got "
            f"{selectors!r}"
        )
    try:
        return tuple(
            rule for entry in selectors for rule in parse_selector("bundle_label_selector", entry)
        )
    except TypeError as error:
        raise ValueError(str(error)) from None


def _parse_topology(topology: object) -> tuple[Rule, ...]:
    if topology is None:
        return ()
    if not isinstance(topology, Mapping):
        raise ValueError(f"topology_strategy must be a dict of labels to strategies: {topology!r}")
    others = [key for key in topology if key != NODE_ID]
    if len(others) > 1 or any(topology[key] != "STRICT_PACK" for key in others):
        raise ValueError(
            f"topology_strategy={dict(topology)!r}: beside {NODE_ID!r} it takes one label, with "
            '"STRICT_PACK"'
        )
    return tuple(Rule(key, "exists") for key in others)
