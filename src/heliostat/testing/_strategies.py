"""The suite's tests of scheduling strategies and labels."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg"

from __future__ import annotations

from typing import Any

import pytest

import heliostat as ray
from heliostat.exceptions import ActorUnschedulableError, TaskUnschedulableError
from heliostat.placement import placement_group, remove_placement_group
from heliostat.strategies import (
    DoesNotExist,
    Exists,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
)
from heliostat.testing._placement import Resident, where
from heliostat.testing._session import SharedSession, with_session


class StrategyTests(SharedSession):
    """Where work may run, on one machine."""

    @with_session(num_cpus=2, labels={"zone": "near", "example.org/tier": "1"})
    def test_labels_of_the_machine_are_told(self) -> None:
        node = ray.get_runtime_context().get_node_id()
        labels = {"zone": "near", "example.org/tier": "1", "ray.io/node-id": node}
        assert ray.nodes()[0]["Labels"] == labels

        @ray.remote
        def told() -> dict[str, str]:
            return ray.get_runtime_context().get_node_labels()

        assert ray.get(told.remote(), timeout=20) == labels

    @with_session(num_cpus=2, labels={"zone": "near", "tier": "1"})
    def test_work_runs_where_its_labels_are(self) -> None:
        node = ray.get_runtime_context().get_node_id()
        rules = NodeLabelSchedulingStrategy(
            {"zone": In("near", "far"), "tier": Exists(), "rack": DoesNotExist(), "x": NotIn("y")},
            soft={"zone": In("far")},
        )
        for options in (
            {"scheduling_strategy": rules},
            {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)},
            {"scheduling_strategy": NodeAffinitySchedulingStrategy("ab" * 16, soft=True)},
            {"scheduling_strategy": "SPREAD"},
            {"label_selector": {"zone": "near"}},
            {"label_selector": {"zone": "!far", "tier": "in(1, 2)", "rack": "!in(a)"}},
            {
                "label_selector": {"zone": "far"},
                "fallback_strategy": [{"label_selector": {"tier": "1"}}],
            },
        ):
            assert ray.get(where.options(**options).remote(), timeout=20) is None
            actor = Resident.options(**options).remote()
            assert ray.get(actor.where.remote(), timeout=20) is None

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            (
                {"scheduling_strategy": NodeAffinitySchedulingStrategy("ab" * 16, soft=False)},
                "ababab.*soft=True",
            ),
            (
                {"scheduling_strategy": NodeLabelSchedulingStrategy({"zone": In("far")})},
                r"zone = far.*init\(labels=\{'zone': 'far'\}\)",
            ),
            ({"label_selector": {"zone": "far"}}, "zone = far"),
            (
                {
                    "label_selector": {"zone": "in(a, b)"},
                    "fallback_strategy": [{"label_selector": {"zone": "c"}}],
                },
                r"zone in \(a, b\), or zone = c",
            ),
            ({"accelerator_type": "A100"}, r"accelerator_type:A100.*init\(resources="),
        ],
    )
    def test_what_can_run_nowhere_fails_at_once(self, options: Any, named: str) -> None:
        @ray.remote
        def nested() -> None:
            where.options(**options).remote()

        with pytest.raises(TaskUnschedulableError, match=f"(?s){named}"):
            where.options(**options).remote()
        with pytest.raises(ActorUnschedulableError, match=f"(?s){named}"):
            Resident.options(**options).remote()
        with pytest.raises(TaskUnschedulableError, match=f"(?s){named}"):
            ray.get(nested.remote(), timeout=20)

    @with_session(num_cpus=2, resources={"accelerator_type:T4": 1})
    def test_an_accelerator_that_is_there_is_found(self) -> None:
        @ray.remote(num_cpus=0, accelerator_type="T4")
        def holds() -> dict[str, float]:
            return ray.get_runtime_context().get_assigned_resources()

        assert ray.get(holds.remote(), timeout=20) == {"accelerator_type:T4": 0.001}

    @pytest.mark.parametrize(
        "options",
        [
            {"memory": 100 << 20},
            {"resources": {"node:__internal_head__": 0.01}},
            {"resources": {"node:127.0.0.1": 0.01}},
        ],
    )
    def test_the_machine_has_memory_and_names(self, options: dict[str, Any]) -> None:
        assert ray.get(where.options(**options).remote(), timeout=20) is None
        actor = Resident.options(object_store_memory=1000, **options).remote()
        assert ray.get(actor.where.remote(), timeout=20) is None
        bundle = options.get("resources", options)
        group = placement_group([bundle, {"object_store_memory": 1000}])
        assert group.wait(20)
        remove_placement_group(group)

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"scheduling_strategy": "ELSEWHERE"}, ValueError),
            ({"scheduling_strategy": 3}, TypeError),
            ({"placement_group": "mine"}, TypeError),
            ({"placement_group_bundle_index": "0"}, TypeError),
            ({"placement_group_capture_child_tasks": 1}, TypeError),
            ({"label_selector": {"zone": 1}}, TypeError),
            ({"label_selector": {"zone": "in()"}}, ValueError),
            ({"label_selector": {"a zone": "b"}}, ValueError),
            ({"fallback_strategy": {}}, TypeError),
            ({"fallback_strategy": [{"num_cpus": 1}]}, ValueError),
            ({"accelerator_type": 3}, TypeError),
        ],
    )
    def test_options_that_mean_nothing_name_themselves(
        self, options: dict[str, Any], error: type[Exception]
    ) -> None:
        (name,) = options
        with pytest.raises(error, match=name):
            where.options(**options)
        with pytest.raises(error, match=name):
            Resident.options(**options)
