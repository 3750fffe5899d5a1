"""The options of deployments."""

from __future__ import annotations

from typing import Any

import pytest

import heliostat as ray
from heliostat.serve.config import DeploymentActorConfig, DeploymentConfig


def config(**options: Any) -> DeploymentConfig:
    return DeploymentConfig().with_options(options)


def test_a_number_of_replicas_and_bounds_exclude_each_other():
    with pytest.raises(ValueError, match="exclude each other"):
        config(num_replicas=2, autoscaling_config={"max_replicas": 3})
    scaled = config(autoscaling_config={"min_replicas": 0, "max_replicas": 3})
    assert scaled.first_replicas == 0
    assert scaled.with_options({"num_replicas": 2}).first_replicas == 2


def test_auto_is_from_one_to_a_hundred():
    auto = config(num_replicas="auto").autoscaling_config
    assert auto is not None
    assert (auto.min_replicas, auto.max_replicas) == (1, 100)
    more = config(num_replicas="auto", autoscaling_config={"min_replicas": 2}).autoscaling_config
    assert more is not None
    assert (more.min_replicas, more.max_replicas) == (2, 100)


def test_what_a_refused_client_gets_is_503_or_429():
    assert config(backpressure_config={"status_code": 429}).backpressure_config is not None
    for bad in ({"status_code": 500}, {"retry_after_s": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            config(backpressure_config=bad)


@pytest.mark.parametrize(
    ("options", "replicas", "pace"),
    [
        ({}, 3, (1, None)),
        ({}, 20, (4, None)),
        ({"rolling_update_percentage": 0.5}, 4, (2, None)),
        ({"rolling_update_percentage": 1.0, "max_surge_percent": 0}, 4, (4, 0)),
        ({"max_surge_percent": 28}, 25, (5, 7)),
        ({"max_surge_percent": 1}, 2, (1, 1)),
    ],
)
def test_an_update_goes_so_many_replicas_at_a_time(
    options: dict[str, Any], replicas: int, pace: tuple[int, int | None]
):
    assert config(**options).pace(replicas) == pace


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"rolling_update_percentage": 0}, ValueError, "above 0 and at most 1; got 0"),
        ({"rolling_update_percentage": 20}, ValueError, "above 0 and at most 1; got 20"),
        ({"rolling_update_percentage": "20"}, TypeError, "a number, got '20'"),
        ({"num_replicas": "many"}, TypeError, "an int or 'auto', got 'many'"),
        ({"graceful_shutdown_timeout_s": "20"}, TypeError, "a number, got '20'"),
        ({"graceful_shutdown_timeout_s": -1}, ValueError, ">= 0, got -1"),
        ({"ray_actor_options": {"num_gpus": -1}}, ValueError, "num_gpus of ray_actor_options.*-1"),
        ({"ray_actor_options": {"num_cpus": "1"}}, TypeError, "num_cpus of ray_actor_options.*'1'"),
        ({"max_surge_percent": 101}, ValueError, r"0\.\.100, got 101"),
        ({"max_surge_percent": 0.5}, TypeError, "must be an int"),
        ({"max_replicas_per_node": 0}, ValueError, ">= 1"),
        ({"max_replicas_per_node": 101}, ValueError, r"1\.\.100"),
        (
            {"max_replicas_per_node": 1, "placement_group_bundles": [{"CPU": 1}]},
            ValueError,
            "exclude each other",
        ),
        ({"placement_group_strategy": "PACK"}, ValueError, "needs placement_group_bundles"),
        ({"placement_group_bundles": []}, ValueError, "a list of dicts"),
        ({"placement_group_bundles": [{"CPU": 0.5}]}, ValueError, "has not the CPU: 1"),
        ({"deployment_actors": "x"}, TypeError, "a list of DeploymentActorConfig"),
        ({"deployment_actors": [1]}, TypeError, "which is no DeploymentActorConfig"),
        ({"deployment_actors": [{"name": "", "actor_class": dict}]}, ValueError, "not empty"),
        ({"deployment_actors": [{"name": "a", "actor_class": 3}]}, TypeError, "module:Class"),
        (
            {"deployment_actors": [{"name": "a", "actor_class": dict}] * 2},
            ValueError,
            "two deployment_actors have one name",
        ),
        (
            {
                "deployment_actors": [
                    {"name": "a", "actor_class": dict, "actor_options": {"name": "b"}}
                ]
            },
            ValueError,
            "'name', which Serve sets",
        ),
        ({"gang_scheduling_config": {"gang_size": 2}}, NotImplementedError, "one machine"),
    ],
)
def test_bad_options_of_deployments_are_named(
    options: dict[str, Any], error: type[Exception], text: str
):
    with pytest.raises(error, match=text):
        config(**options)


def test_a_replica_takes_all_its_bundles_and_one_selector_is_for_each():
    grouped = config(
        placement_group_bundles=[{"CPU": 1}, {"CPU": 0.5, "GPU": 1}],
        placement_group_bundle_label_selector=[{"zone": "a"}],
    )
    assert grouped.resources() == {"CPU": 1.5, "GPU": 1}
    assert grouped.actor_resources() == {"CPU": 1}
    assert grouped.placement_group_bundle_label_selector == [{"zone": "a"}] * 2


def test_actors_of_a_deployment_have_its_environment_unless_they_have_their_own():
    @ray.remote
    class Shared: ...

    mine = DeploymentActorConfig("a", Shared, actor_options={"runtime_env": {"env_vars": {}}})
    assert mine.for_replicas({"runtime_env": {"pip": []}}) is mine
    theirs = DeploymentActorConfig("a", Shared).for_replicas({"runtime_env": {"pip": []}})
    assert theirs.actor_options == {"runtime_env": {"pip": []}}
    assert DeploymentActorConfig("a", "m:C").for_replicas({}).actor_options == {}
