"""Scaling: numbers from many callers before one Autoscaler."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from heliostat.serve._scaling import ApplicationPolicy, Scaling
from heliostat.serve.autoscaling import DeploymentID
from heliostat.serve.config import DeploymentConfig


def broken_policy(context: Any) -> float:
    return 1 / 0


def config(**options: Any) -> DeploymentConfig:
    return DeploymentConfig().with_options(options)


def asleep() -> Scaling:
    scaling = Scaling(DeploymentID("d"))
    options = {"min_replicas": 0, "max_replicas": 4, "upscale_delay_s": 0}
    assert scaling.configure(config(autoscaling_config=options)) == 0
    return scaling


def test_a_fixed_number_is_not_measured():
    scaling = Scaling(DeploymentID("d"))
    assert scaling.configure(config(num_replicas=3)) == 3
    assert scaling.interval_s is None
    assert scaling.measured({"r": 100}, 0) is None


def test_calls_that_wait_anywhere_wake_it():
    scaling = asleep()
    assert scaling.measured({}, 0) is None
    scaling.queued("one", 1, 0)
    assert scaling.measured({}, 0) == 1


def test_a_caller_that_says_no_more_is_forgotten():
    scaling = asleep()
    scaling.queued("dead", 5, 0)
    scaling.queued("done", 5, 100)
    scaling.queued("done", 0, 101)
    assert scaling.measured({}, 101) is None


def test_new_bounds_keep_what_the_load_has_asked_for():
    scaling = asleep()
    scaling.queued("one", 1, 0)
    assert scaling.measured({}, 0) == 1
    assert scaling.configure(config(autoscaling_config={"min_replicas": 0})) == 1
    assert scaling.configure(config(autoscaling_config={"min_replicas": 2, "max_replicas": 3})) == 2


def test_a_policy_that_fails_is_told_with_the_deployments_name(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    # An application that ran in this process may have its own handler there.
    monkeypatch.setattr(logging.getLogger("heliostat.serve"), "propagate", True)
    scaling = Scaling(DeploymentID("d"))
    options = {"min_replicas": 2, "max_replicas": 4, "policy": {"policy_function": broken_policy}}
    assert scaling.configure(config(autoscaling_config=options)) == 2
    assert scaling.measured({"r": 100}, 0) is None
    assert "policy of d failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_of_a_part_of_the_capacity_all_numbers_are_a_part():
    scaling = Scaling(DeploymentID("d"))
    assert scaling.configure(config(num_replicas=3), 50) == 2
    assert scaling.configure(config(num_replicas=3), 0) == 0
    options = {"min_replicas": 2, "initial_replicas": 4, "max_replicas": 8}
    assert scaling.configure(config(autoscaling_config=options), 50) == 2
    assert scaling._config is not None
    assert (scaling._config.min_replicas, scaling._config.max_replicas) == (1, 4)


def test_one_policy_may_find_the_numbers_of_all_deployments_of_an_application():
    seen: list[set[str]] = []

    def policy(contexts: dict[DeploymentID, Any]) -> Any:
        seen.append({id_.name for id_ in contexts})
        total = sum(context.total_num_requests for context in contexts.values())
        return {id_: total for id_ in contexts if id_.name == "two"}, {}

    together = ApplicationPolicy(policy)
    options = {"max_replicas": 9, "upscale_delay_s": 0}
    one, two = Scaling(DeploymentID("one")), Scaling(DeploymentID("two"))
    for scaling in (one, two):
        scaling.configure(config(autoscaling_config=options), None, together)
    assert one.measured({"r": 3.0}, 0) is None  # the policy says nothing of it
    assert two.measured({"r": 2.0}, 0) == 5
    assert seen == [{"one"}, {"one", "two"}]


def test_without_any_capacity_no_load_starts_a_replica():
    scaling = Scaling(DeploymentID("d"))
    options = {"min_replicas": 1, "max_replicas": 4, "upscale_delay_s": 0}
    assert scaling.configure(config(autoscaling_config=options), 0) == 0
    scaling.queued("one", 5, 0)
    assert scaling.measured({}, 0) is None
    assert scaling.interval_s is None
    assert scaling.configure(config(autoscaling_config=options), 100) == 1
