"""Machines of a cluster: what they can never run, and our options in Ray's words."""

from typing import Any

import pytest

from heliostat._core import scheduling
from heliostat._core.groups import GroupSpec
from heliostat._core.labels import Rule
from heliostat._core.options import UNIT, ActorOptions, MethodOptions
from heliostat._engines.ray.groups import (
    Groups,
    Node,
    amounts,
    in_all,
    lacking,
    lacking_for,
    of_an_actor,
    returns,
    with_those_to_come,
)
from heliostat._engines.ray.values import Hold


def node(number: int, cpus: int, labels: dict[str, str] | None = None, **others: int) -> Node:
    id_ = f"{number:032x}"
    total = {"CPU": cpus * UNIT, **{name: n * UNIT for name, n in others.items()}}
    return Node(id_, id_ + "00" * 12, total, labels or {}, {})


NODES = (node(1, 2), node(2, 4, {"zone": "b"}, GPU=1))


def group(*cpus: int, strategy: str = "PACK", rules: tuple[Rule, ...] = ()) -> GroupSpec:
    bundles = tuple((("CPU", count * UNIT),) for count in cpus)
    return GroupSpec(bytes(16), bundles, strategy, "", False, rules, b"")


def test_a_task_must_fit_onto_one_node() -> None:
    assert lacking(NODES, (("CPU", 4 * UNIT),), None) == ""
    said = lacking(NODES, (("CPU", 5 * UNIT),), None)
    assert "CPU: 5 (there is 4)" in said
    assert "2 nodes" in said


def test_a_cluster_without_gpus_says_so_and_how_to_have_them() -> None:
    said = lacking(NODES[:1], (("GPU", UNIT),), None)
    assert "GPU: 1 (there is 0)" in said
    assert "--num-gpus" in said


def test_a_label_is_wanted_of_a_node_that_is_large_enough() -> None:
    here = scheduling.parse({"label_selector": {"zone": "b"}}, None)
    there = scheduling.parse({"label_selector": {"zone": "c"}}, None)
    assert lacking(NODES, (("CPU", UNIT),), here) == ""
    assert "zone = c" in lacking(NODES, (("CPU", UNIT),), there)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (group(2, 4), ""),
        (group(3, 4), "more than the cluster has: CPU: 7"),
        (group(5), "in bundle 0 more than any of the 2 nodes"),
        (group(2, 2, strategy="STRICT_SPREAD"), ""),
        (group(1, 1, 1, strategy="STRICT_SPREAD"), "a machine for each of its 3 bundles"),
        (group(2, 2, strategy="STRICT_PACK"), ""),
        (group(3, 3, strategy="STRICT_PACK"), "more than one node has"),
        (group(1, rules=(Rule("zone", "in", ("c",)),)), "zone = c"),
    ],
)
def test_a_group_must_fit_onto_the_nodes_as_its_strategy_says(spec: GroupSpec, words: str) -> None:
    said = lacking_for(NODES, spec)
    assert said == "" if not words else words in said


def test_a_group_may_ask_for_nodes_that_an_autoscaler_adds() -> None:
    driver = node(3, 0)
    assert lacking_for(with_those_to_come((*NODES, driver), 3), group(2, 4, 4)) == ""
    assert "CPU: 11 (there is 10)" in lacking_for(with_those_to_come(NODES, 3), group(4, 4, 3))
    spread = group(4, 4, 2, strategy="STRICT_SPREAD")
    assert "each of its 3 bundles" in lacking_for(NODES, spread)
    assert lacking_for(with_those_to_come(NODES, 3), spread) == ""
    assert with_those_to_come(NODES, 0) == NODES
    assert with_those_to_come((driver,), 5) == (driver,)


def test_all_nodes_together_are_the_cluster() -> None:
    assert in_all(NODES) == {"CPU": 6 * UNIT, "GPU": UNIT}


@pytest.mark.parametrize(
    ("resources", "options"),
    [
        ((), {"num_cpus": 0}),
        ((("CPU", UNIT // 2), ("GPU", UNIT)), {"num_cpus": 0.5, "num_gpus": 1.0}),
        ((("memory", 5 * UNIT), ("spoon", UNIT)),
         {"num_cpus": 0, "memory": 5, "resources": {"spoon": 1.0}}),
    ],
)  # fmt: skip
def test_resources_are_options_of_rays(resources: Any, options: dict[str, Any]) -> None:
    assert amounts(resources) == options


def test_a_stream_is_bounded_where_it_was_asked_to_be() -> None:
    assert returns(MethodOptions(num_returns=2)) == {"num_returns": 2}
    assert returns(MethodOptions(num_returns="streaming")) == {"num_returns": "streaming"}
    bounded = returns(MethodOptions(num_returns="streaming", backpressure=3))
    assert bounded["_generator_backpressure_num_objects"] == 3


def test_options_of_an_actor_that_say_nothing_are_left_to_ray() -> None:
    plain, named = of_an_actor(ActorOptions()), of_an_actor(ActorOptions(name="a", detached=True))
    assert "name" not in plain
    assert "lifetime" not in plain
    assert (named["name"], named["lifetime"]) == ("a", "detached")


def test_work_is_not_ended_while_its_group_is_there() -> None:
    groups, work = Groups("here"), Hold()
    groups.took(None, [Hold(), None])
    groups.took((bytes(16), 0, False), [work, None])
    assert not groups.ended(work)
    assert not groups.ended(None)
