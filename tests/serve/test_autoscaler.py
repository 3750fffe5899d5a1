"""Autoscaler: bounds, delays, factors; and loads that swing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.serve._autoscaler import Autoscaler, Measured, PolicyFailed, Scale
from heliostat.serve.autoscaling import AutoscalingConfig, DeploymentID

QUICK: dict[str, Any] = {
    "upscale_delay_s": 0,
    "downscale_delay_s": 0,
    "look_back_period_s": 0.1,
    "max_replicas": 10,
}


def scaler(begin: int = 1, policy: Any = None, **options: Any) -> Autoscaler:
    config = AutoscalingConfig(**{**QUICK, **options})
    return Autoscaler(DeploymentID("d"), config, begin, policy)


def load(total: int, replicas: int = 1, queued: int = 0) -> Measured:
    share = {f"r{i}": total // replicas + (i < total % replicas) for i in range(replicas)}
    return Measured(share if replicas else {}, queued)


def test_replicas_follow_the_load_by_its_target():
    one = scaler(target_ongoing_requests=2)
    assert one.handle(load(10), 0) == [Scale(5)]
    assert one.handle(load(10, 5), 1) == []
    assert one.handle(load(3, 5), 2) == [Scale(2)]
    assert one.handle(load(1000), 3) == [Scale(10)]
    assert one.handle(load(0), 4) == [Scale(1)]


def test_a_load_must_last_for_the_delay_before_anything_happens():
    one = scaler(upscale_delay_s=3, downscale_delay_s=10)
    assert one.handle(load(10), 0) == []
    assert one.handle(load(10), 2.9) == []
    assert one.handle(load(10), 3.0) == [Scale(5)]
    assert one.handle(load(0), 4) == []
    assert one.handle(load(10), 13) == []  # it came back: the delay begins anew
    assert one.handle(load(0), 14) == []
    assert one.handle(load(0), 23.9) == []
    assert one.handle(load(0), 24) == [Scale(1)]


def test_a_request_wakes_a_deployment_that_sleeps_at_once():
    one = scaler(0, min_replicas=0, upscale_delay_s=30)
    assert one.handle(load(0, 0), 0) == []
    assert one.handle(load(0, 0, queued=1), 1) == [Scale(1)]


def test_to_zero_from_one_only_and_after_its_own_delay():
    one = scaler(4, min_replicas=0, downscale_to_zero_delay_s=60)
    assert one.handle(load(0, 4), 0) == [Scale(1)]
    assert one.handle(load(0, 1), 1) == []
    assert one.handle(load(0, 1), 60) == []
    assert one.handle(load(0, 1), 61) == [Scale(0)]


def test_factors_go_a_part_of_the_way_but_never_none():
    one = scaler(4, downscaling_factor=0.1, upscaling_factor=0.5)
    assert one.handle(load(6, 4), 0) == [Scale(3)]
    assert one.handle(load(20, 3), 1) == [Scale(7)]


def test_waiting_requests_count_too_and_the_look_back_period_is_averaged():
    one = scaler(look_back_period_s=10, aggregation_function="mean")
    one.handle(load(0), 0)
    assert one.handle(load(4, queued=4), 1) == [Scale(2)]
    most = scaler(look_back_period_s=10, aggregation_function="max")
    assert most.handle(load(8), 0) == [Scale(4)]
    assert most.handle(load(0), 5) == []
    assert most.handle(load(0), 11) == [Scale(1)]


def test_a_policy_decides_within_the_bounds_and_keeps_its_state():
    def policy(ctx: Any) -> Any:
        turn = ctx.policy_state.get("turn", 0) + 1
        return 3 * turn, {"turn": turn}

    one = scaler(policy=policy, max_replicas=7)
    assert one.handle(load(0), 0) == [Scale(3)]
    assert one.handle(load(0), 1) == [Scale(6)]
    assert one.handle(load(0), 2) == [Scale(7)]


@pytest.mark.parametrize("answer", ["five", math.nan, None])
def test_a_policy_that_fails_changes_nothing(answer: Any):
    one = scaler(3, policy=lambda ctx: (answer, {}))
    [failed] = one.handle(load(0, 3), 0)
    assert isinstance(failed, PolicyFailed)
    assert isinstance(failed.error, ValueError | TypeError)
    assert one.target == 3


def test_oscillating_load_does_not_flap():
    one = scaler(
        target_ongoing_requests=1, upscale_delay_s=2, downscale_delay_s=20, look_back_period_s=4
    )
    changes, now = 0, 0.0
    for step in range(600):  # ten minutes of bursts of two seconds
        now = step * 1.0
        total = 8 if step % 4 < 2 else 0
        changes += len(one.handle(load(total, one.target), now))
    assert changes <= 3
    assert 4 <= one.target <= 8


@given(
    st.integers(0, 3),
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9), st.floats(0.1, 40)), max_size=40),
)
def test_any_load_stays_within_bounds_and_a_steady_one_settles(least, more, loads):
    one = scaler(
        least, min_replicas=least, max_replicas=least + more, upscale_delay_s=1, downscale_delay_s=5
    )
    now = 0.0
    for total, queued, wait_s in loads:
        now += wait_s
        one.handle(load(total, one.target, queued if one.target == 0 else 0), now)
        one.check()
    for _ in range(60):
        now += 1
        one.handle(load(4, one.target) if one.target else load(0, 0, 4), now)
    assert one.target == min(max(2, least), least + more)


def test_a_policy_sees_what_living_replicas_have_recorded_of_themselves():
    seen: list[Any] = []

    def policy(ctx: Any) -> float:
        seen.append(ctx)
        return 1

    autoscaler = scaler(1, policy, look_back_period_s=10.0)
    for now, value in ((0, 1.0), (1, 3.0)):
        stats = {"r0": {"tokens": value}, "gone": {"tokens": 99.0}}
        autoscaler.handle(Measured({"r0": 1.0}, 0, stats), now)
    assert seen[-1].aggregated_metrics["tokens"] == {"r0": 2.0}
    assert seen[-1].raw_metrics["tokens"] == {"r0": [(0, 1.0), (1, 3.0)]}
