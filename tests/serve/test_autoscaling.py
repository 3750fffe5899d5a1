"""AutoscalingConfig, policies: what is accepted, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from heliostat.serve.autoscaling import (
    AggregationFunction,
    AutoscalingConfig,
    AutoscalingPolicy,
    aggregate,
    replica_queue_length_autoscaling_policy,
)


class Fixed:
    def __init__(self, number: int = 1) -> None:
        self.number = number

    def __call__(self, ctx: Any) -> Any:
        return self.number, {}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"min_replicas": 3, "max_replicas": 2}, ValueError, "must be >= min_replicas"),
        ({"min_replicas": 1, "initial_replicas": 0}, ValueError, "initial_replicas"),
        ({"max_replicas": 0}, ValueError, "max_replicas"),
        ({"target_ongoing_requests": 0}, ValueError, "target_ongoing_requests"),
        ({"metrics_interval_s": "1"}, TypeError, "metrics_interval_s"),
        ({"upscale_delay_s": -1}, ValueError, "upscale_delay_s"),
        ({"downscale_to_zero_delay_s": "x"}, TypeError, "downscale_to_zero_delay_s"),
        ({"aggregation_function": "sum"}, ValueError, "'mean', 'max' or 'min'"),
        ({"no_such": 1}, TypeError, "it takes min_replicas"),
        ({"policy": 3}, TypeError, "policy_function"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        AutoscalingConfig.parse(options)


def test_the_old_names_of_factors_still_count():
    config = AutoscalingConfig(smoothing_factor=0.5, upscale_smoothing_factor=2)
    assert (config.up_factor, config.down_factor) == (2, 0.5)


def test_policies_come_as_functions_strings_dicts_and_classes():
    assert AutoscalingConfig().policy.is_default_policy_function()
    function = AutoscalingConfig(policy=lambda ctx: (1, {})).policy
    assert not function.is_default_policy_function()
    path = f"{__name__}:Fixed"
    named = AutoscalingConfig(policy={"policy_function": path, "policy_kwargs": {"number": 4}})
    assert named.policy.get_policy()(None) == (4, {})
    default = AutoscalingPolicy().get_policy()
    assert default is replica_queue_length_autoscaling_policy
    with pytest.raises(ImportError, match="policy_function="):
        AutoscalingPolicy("heliostat.serve:nothing_like_it").get_policy()
    with pytest.raises(TypeError):
        AutoscalingPolicy(Fixed, {"number": object()})


def test_measurements_are_put_together_as_asked():
    got = [aggregate(method, [1, 2, 6]) for method in AggregationFunction]
    assert got == [3, 6, 1]
    assert aggregate("mean", []) == 0
