"""Machines and placement groups of a cluster, and what our scheduling options are in Ray's words."""

from __future__ import annotations

import os
import pickle
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from heliostat._core.groups import GroupSpec
from heliostat._core.ids import NodeID
from heliostat._core.labels import Rule, unmet
from heliostat._core.options import (
    NODE_ID,
    UNIT,
    ActorOptions,
    MethodOptions,
    Place,
    Resources,
    TaskOptions,
)
from heliostat._core.resources import missing, missing_for, remedy, together
from heliostat._core.scheduling import (
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    Scheduling,
    misfit,
)
from heliostat._engines.ray import kept, theirs
from heliostat._engines.ray.values import ERROR, VALUE, ActorHold, GroupHold, Hold, StreamHold
from heliostat.exceptions import RayError, TaskPlacementGroupRemoved

# Options of actors that have the same name and meaning in both.
_AS_THEY_ARE = (
    "max_restarts", "max_task_retries", "max_pending_calls", "namespace", "get_if_exists",
    "max_concurrency",
)  # fmt: skip
E = TypeVar("E", bound=RayError)
_SHORT = 2 * NodeID.size()  # Ray's identifiers of nodes are longer than ours: we keep the beginning


class Node(NamedTuple):
    """A machine of the cluster."""

    id: str
    whole_id: str  # as Ray has it
    total: dict[str, int]
    labels: dict[str, str]
    row: dict[str, Any]


def short(node_id: str) -> str:
    """Ray's identifier of a node as ours."""
    return node_id[:_SHORT]


def alive() -> tuple[Node, ...]:
    """The machines that live."""
    return tuple(_node(row) for row in theirs.ray().nodes() if row["Alive"])


def _node(row: Mapping[str, Any]) -> Node:
    id_ = short(row["NodeID"])
    total = {name: round(amount * UNIT) for name, amount in row["Resources"].items()}
    labels = {**row.get("Labels", {}), NODE_ID: id_}
    return Node(id_, row["NodeID"], total, labels, {**row, "NodeID": id_, "Labels": labels})


def lacking(nodes: Sequence[Node], shape: Resources, scheduling: Scheduling | None) -> str:
    """Why no machine can ever run this, in words; empty if one can."""
    roomy = [node for node in nodes if not missing(node.total, shape)]
    if not roomy:
        most: Counter[str] = Counter()
        for node in nodes:
            most |= Counter(node.total)  # the larger of each
        lacks = missing(most, shape) or ", ".join(f"{n}: {u / UNIT:g}" for n, u in shape)
        return (
            f"more than any of the {len(nodes)} nodes of the cluster has: {lacks}. Ask for less, add "
            "a node that has it (`ray start --address=... --num-gpus=...`, or a worker group), or, "
            f"without a cluster, {remedy(most, shape)}"
        )
    whys = [misfit(scheduling, node.id, node.labels) for node in roomy]
    return whys[0] if all(whys) else ""


def most_nodes() -> int:
    """How many machines an autoscaler may have; Ray itself does not tell."""
    said = os.environ.get("HELIOSTAT_MAX_NODES", "0")
    if not (said.isascii() and said.isdecimal()):
        raise ValueError(f"HELIOSTAT_MAX_NODES={said!r} is no number of machines; unset it")
    return int(said)


def with_those_to_come(nodes: Sequence[Node], most: int) -> Sequence[Node]:
    """The machines, and those that an autoscaler adds up to so many: each like the largest."""
    working = [node for node in nodes if node.total.get("CPU")]
    largest = max(working, key=lambda node: node.total["CPU"], default=None)
    if largest is None:
        return nodes
    # Names of machines, such as "node:10.0.0.7", are of those that are there.
    common = {name: units for name, units in largest.total.items() if not name.startswith("node:")}
    return (*nodes, *[largest._replace(total=common)] * (most - len(working)))


def lacking_for(nodes: Sequence[Node], spec: GroupSpec) -> str:
    """Why the cluster can never give a placement group what it asks for; empty if it can."""
    fits = [node for node in nodes if not unmet(node.labels, spec.rules)]
    if not fits:
        return f"a node with the label {' and '.join(map(str, spec.rules))}, and none has it"
    if spec.strategy == "STRICT_SPREAD" and len(spec.bundles) > len(fits):
        return f"a machine for each of its {len(spec.bundles)} bundles, and there are {len(fits)}"
    for index, shape in enumerate(spec.bundles):
        if all(missing(node.total, shape) for node in fits):
            return f"in bundle {index} {lacking(fits, shape, None)}"
    if spec.strategy == "STRICT_PACK" or len(fits) == 1:
        whys = [missing_for(node.total, spec.bundles) for node in fits]
        return f"more than one node has: {whys[0]}" if all(whys) else ""
    lacks = missing(in_all(fits), together(spec.bundles))
    return f"more than the cluster has: {lacks}" if lacks else ""


# In Ray's words


def amounts(resources: Resources) -> dict[str, Any]:
    """Resources as options of `ray.remote`."""
    asked = {name: units / UNIT for name, units in resources}
    options: dict[str, Any] = {"num_cpus": asked.pop("CPU", 0)}
    if gpus := asked.pop("GPU", 0):
        options["num_gpus"] = gpus
    for name in ("memory", "object_store_memory"):
        if (amount := asked.pop(name, None)) is not None:
            options[name] = int(amount)
    return {**options, "resources": asked} if asked else options


def returns(options: TaskOptions | MethodOptions) -> dict[str, Any]:
    """How many results, in Ray's words."""
    if not isinstance(options.num_returns, str):
        return {"num_returns": options.num_returns}
    most = {"_generator_backpressure_num_objects": options.backpressure}
    return {"num_returns": "streaming", **(most if options.backpressure is not None else {})}


def of_an_actor(options: ActorOptions) -> dict[str, Any]:
    """The options of an actor in Ray's words."""
    asked = {name: getattr(options, name) for name in _AS_THEY_ARE} | {
        "name": options.name or None,
        "lifetime": "detached" if options.detached else None,
        "allow_out_of_order_execution": options.out_of_order,
    }
    return {name: value for name, value in asked.items() if value is not None}


def where(
    scheduling: Scheduling | None, place: Place | None, group: Any, nodes: Iterable[Node]
) -> dict[str, Any]:
    """Where to run, as options of `ray.remote`."""
    strategies = theirs.module("util.scheduling_strategies")
    if place is not None:
        inside = strategies.PlacementGroupSchedulingStrategy(group, place[1], False)
        return {"scheduling_strategy": inside}
    if scheduling is None:
        return {}
    whole = {node.id: node.whole_id for node in nodes}
    strategy: Any = scheduling.strategy
    if isinstance(strategy, NodeAffinitySchedulingStrategy):
        node = whole.get(strategy.node_id, strategy.node_id.ljust(56, "0"))
        strategy = strategies.NodeAffinitySchedulingStrategy(node, strategy.soft)
    elif isinstance(strategy, NodeLabelSchedulingStrategy):
        hard, soft = (_expressions(rules, whole) for rules in (strategy.hard, strategy.soft))
        strategy = strategies.NodeLabelSchedulingStrategy(hard, soft=soft)
    known = isinstance(strategy, str) or strategy is not scheduling.strategy
    options = {"scheduling_strategy": strategy} if known else {}
    if scheduling.selector:
        options["label_selector"] = _selector(scheduling.selector, whole)
    if scheduling.fallbacks:
        options["fallback_strategy"] = [
            {"label_selector": _selector(rules, whole)} for rules in scheduling.fallbacks
        ]
    return options


def _values(rule: Rule, whole: Mapping[str, str]) -> tuple[str, ...]:
    if rule.key != NODE_ID:
        return rule.values
    return tuple(whole.get(value, value) for value in rule.values)


def _expressions(rules: Iterable[Rule], whole: Mapping[str, str]) -> dict[str, Any]:
    strategies = theirs.module("util.scheduling_strategies")
    return {  # "does not exist" is DoesNotExist there
        rule.key: getattr(strategies, rule.operator.title().replace(" ", ""))(*_values(rule, whole))
        for rule in rules
    }


def _selector(rules: Iterable[Rule], whole: Mapping[str, str]) -> dict[str, str]:
    texts = {}
    for rule in rules:
        values = _values(rule, whole)
        inner = values[0] if len(values) == 1 else f"in({', '.join(values)})"
        texts[rule.key] = inner if rule.operator == "in" else f"!{inner}"
    return texts


# Placement groups


class KeptGroup(NamedTuple):
    """What every process of the session can look up of a group."""

    spec: GroupSpec
    theirs: bytes
    namespace: str


class Groups:
    """The placement groups that this process has heard of."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._holds: dict[bytes, GroupHold] = {}
        # What this process has asked for in each.
        self._work: dict[bytes, weakref.WeakSet[Hold]] = {}
        self._ended: weakref.WeakSet[Hold] = weakref.WeakSet()

    def create(self, spec: GroupSpec) -> None:
        """Ask Ray for it, and let everybody know its number."""
        ours, theirs_ = _label_selectors(spec), theirs.module("util.placement_group")
        if spec.name and any(
            row["name"] == spec.name and row["state"] != "REMOVED" for row in self.rows()
        ):
            raise ValueError(
                f"a placement group named {spec.name!r} exists already; use another name"
            )
        group = theirs_.placement_group(
            [{name: units / UNIT for name, units in bundle} for bundle in spec.bundles],
            strategy=spec.strategy,
            name=f"{spec.name}#{spec.id.hex()}" if spec.name else "",
            lifetime="detached" if spec.detached else None,
            **ours,
        )
        entry = KeptGroup(spec, group.id.binary(), self._namespace)
        kept.put("group", spec.id, pickle.dumps(entry), forever=spec.detached)
        self._holds[spec.id] = GroupHold(group, lambda: _ready(group, spec))

    def find(self, id_: bytes) -> GroupHold | None:
        """What is behind the number of a group, if it is one."""
        id_ = bytes(id_)
        hold = self._holds.get(id_)
        if hold is None and (pickled := kept.get("group", id_)) is not None:
            entry: KeptGroup = pickle.loads(pickled)
            group = theirs.module("util.placement_group").PlacementGroup(
                theirs.ray().PlacementGroupID(entry.theirs)
            )
            hold = self._holds[id_] = GroupHold(group, lambda: _ready(group, entry.spec))
        return hold

    def known(self, id_: bytes) -> GroupHold | None:
        """The same, if this process has heard of it."""
        return self._holds.get(bytes(id_))

    def error(self, place: Place | None, who: str, kind: type[E]) -> E | None:
        """Of what is asked for in a group that is removed; Ray lets it wait for ever."""
        if place is None or ((hold := self.find(place[0])) and not _is_removed(hold.group)):
            return None
        return kind(f"{who} was not begun: its placement group was removed")

    def took(self, place: Place | None, work: Iterable[Hold | None]) -> None:
        """Tasks or an actor of this process are in a group from now on."""
        if place is not None:
            self._work.setdefault(bytes(place[0]), weakref.WeakSet()).update(filter(None, work))

    def ended(self, work: Hold | None) -> bool:
        """Whether it was in a group that this process has removed."""
        return work in self._ended

    def remove(self, id_: bytes) -> None:
        """Give its resources back."""
        hold, ray = self.find(id_), theirs.ray()
        if hold is None:
            return
        # Ray itself ends what runs, but tries again for ever what may be tried again.
        for work in self._work.pop(bytes(id_), ()):
            self._ended.add(work)
            if isinstance(work, ActorHold):
                ray.kill(work.handle)
            else:
                task = work.generator if isinstance(work, StreamHold) else work.waitable()
                ray.cancel(task, force=True, recursive=False)
        theirs.module("util.placement_group").remove_placement_group(hold.group)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each, with Ray's names."""
        entries = kept.all_of("group")
        states = theirs.module("util.placement_group").placement_group_table() if entries else {}
        return [
            _row(entry, states.get(entry.theirs.hex(), {}))
            for entry in map(pickle.loads, entries.values())
        ]


def _label_selectors(spec: GroupSpec) -> dict[str, Any]:
    # The rules of all bundles are one list by now: each bundle gets all of them.
    if not spec.rules:
        return {}
    selector = _selector(spec.rules, {node.id: node.whole_id for node in alive()})
    return {"bundle_label_selector": [selector] * len(spec.bundles)}


def _ready(group: Any, spec: GroupSpec) -> Any:
    """A reference that is there when the group has its resources: to a task in it."""
    if _is_removed(group):
        error = TaskPlacementGroupRemoved(f"placement group {spec.id.hex()} was removed")
        return theirs.ray().put((ERROR, pickle.dumps(error), (), (), ()))
    handle = spec.handle

    def give() -> Any:
        return (VALUE, handle, (), (), ())

    strategy = theirs.module("util.scheduling_strategies").PlacementGroupSchedulingStrategy
    options = {"num_cpus": 0, "scheduling_strategy": strategy(group, -1, False)}
    return theirs.ray().remote(give).options(**options).remote()


def _is_removed(group: Any) -> bool:
    state = theirs.module("util.placement_group").placement_group_table(group)
    return bool(state.get("state") == "REMOVED")


def _row(entry: KeptGroup, state: Mapping[str, Any]) -> dict[str, Any]:
    spec = entry.spec
    nodes = {
        index: short(node) for index, node in state.get("bundles_to_node_id", {}).items() if node
    }
    return {
        "placement_group_id": spec.id.hex(),
        "name": spec.name,
        "creator_job_id": "",
        "state": state.get("state", "PENDING"),
        "strategy": spec.strategy,
        "bundles": [{name: units / UNIT for name, units in bundle} for bundle in spec.bundles],
        "bundles_to_node_id": nodes,
        "node_id": next(iter(nodes.values()), None),
        "is_detached": spec.detached,
        "reason": "waits for resources" if state.get("state", "PENDING") == "PENDING" else "",
        "ray_namespace": entry.namespace,
    }


def in_all(nodes: Sequence[Node]) -> dict[str, int]:
    """What all machines have together."""
    total: Counter[str] = Counter()
    for node in nodes:
        total.update(node.total)
    return total
