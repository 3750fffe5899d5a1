"""Keyword options become frozen values, or an error that names the option."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat._core.options import (
    UNIT,
    ActorOptions,
    TaskOptions,
    actor_options,
    method_options,
    task_options,
    to_units,
)
from heliostat._core.remote import remote


def test_without_options_a_task_asks_for_one_cpu_and_three_retries() -> None:
    assert task_options({}) == TaskOptions(resources=(("CPU", UNIT),), max_retries=3)


def test_without_options_an_actor_asks_for_nothing() -> None:
    assert actor_options({}) == ActorOptions(resources=())


def test_resources_are_counted_in_ten_thousandths_and_sorted_by_name() -> None:
    options = task_options({"num_gpus": 0.25, "num_cpus": 2, "resources": {"spoon": 0.5}})
    assert options.resources == (("CPU", 2 * UNIT), ("GPU", UNIT // 4), ("spoon", UNIT // 2))


def test_zero_of_a_resource_is_not_asked_for() -> None:
    assert task_options({"num_cpus": 0, "num_gpus": 0}).resources == ()


def test_options_go_on_top_of_the_first_ones() -> None:
    base = task_options({"num_cpus": 2, "max_retries": 0, "name": "first"})
    changed = task_options({"name": "second"}, base)
    assert changed == base._replace(name="second")
    assert base.name == "first"


def test_none_leaves_an_option_as_it_was() -> None:
    base = task_options({"num_cpus": 2, "num_gpus": 1})
    assert task_options({"num_cpus": None, "num_gpus": None}, base) == base


def test_options_about_where_to_run_that_come_to_nothing_cost_nothing() -> None:
    options = {
        "scheduling_strategy": None,
        "placement_group": "default",
        "placement_group_bundle_index": -1,
        "placement_group_capture_child_tasks": None,
        "label_selector": None,
        "fallback_strategy": None,
        "accelerator_type": None,
        "object_store_memory": None,
    }
    assert task_options(options) == TaskOptions()


def test_an_accelerator_is_asked_for_as_a_small_share_of_a_resource() -> None:
    options = task_options({"accelerator_type": "A100", "resources": {"spoon": 1}})
    assert options.resources == (("CPU", UNIT), ("accelerator_type:A100", 10), ("spoon", UNIT))
    assert task_options({"accelerator_type": "T4"}, options).resources == (
        ("CPU", UNIT), ("accelerator_type:T4", 10), ("spoon", UNIT),
    )  # fmt: skip


def test_custom_resources_replace_those_that_were_asked_for_before() -> None:
    base = task_options({"resources": {"spoon": 1}, "num_gpus": 1, "accelerator_type": "T4"})
    assert dict(task_options({"resources": {"fork": 1}}, base).resources) == {
        "CPU": UNIT, "GPU": UNIT, "accelerator_type:T4": 10, "fork": UNIT,
    }  # fmt: skip


def test_only_actors_set_shared_memory_aside() -> None:
    assert actor_options({"object_store_memory": 5}).resources == (
        ("object_store_memory", 5 * UNIT),
    )
    with pytest.raises(ValueError, match=r"object_store_memory.*init"):
        task_options({"object_store_memory": 5})


@pytest.mark.parametrize(
    ("option", "value"),
    [("_num_objects_per_yield", 2), ("_num_objects_per_yield", 0)],
)
def test_an_option_that_is_not_offered_names_itself_and_the_alternative(
    option: str, value: object
) -> None:
    with pytest.raises(NotImplementedError, match=rf"{option}.*; "):
        task_options({option: value})


@pytest.mark.parametrize("value", [1, None])
def test_one_object_per_yield_is_what_there_is(value: object) -> None:
    assert task_options({"_num_objects_per_yield": value}) == task_options({})
    assert method_options({"_num_objects_per_yield": value}) == method_options({})


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"num_cpu'.*num_cpus"):
        task_options({"num_cpu": 1})
    with pytest.raises(ValueError, match="max_restarts"):
        task_options({"max_restarts": 1})
    with pytest.raises(TypeError, match="num_cpus"):
        method_options({"num_cpus": 1})


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("num_returns", True, TypeError),
        ("num_returns", 1.0, TypeError),
        ("num_returns", -1, ValueError),
        ("max_retries", "3", TypeError),
        ("max_retries", -2, ValueError),
        ("retry_exceptions", [int], TypeError),
        ("retry_exceptions", ValueError, TypeError),
        ("num_cpus", "1", TypeError),
        ("num_cpus", True, TypeError),
        ("num_cpus", float("nan"), ValueError),
        ("num_cpus", float("inf"), ValueError),
        ("num_gpus", -0.5, ValueError),
        ("num_gpus", 1.5, ValueError),
        ("resources", ["spoon"], TypeError),
        ("resources", {"spoon": "1"}, TypeError),
        ("resources", {"GPU": 1}, ValueError),
        ("name", 3, TypeError),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_option(
    option: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=option.removesuffix("s")):
        task_options({option: value})


def test_get_if_exists_needs_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        actor_options({"get_if_exists": True})
    assert actor_options({"get_if_exists": True}, ActorOptions(name="known")).get_if_exists


def test_detached_actors_are_asked_for_by_their_lifetime() -> None:
    assert actor_options({"lifetime": "detached"}).detached
    assert not actor_options({"lifetime": None}).detached
    with pytest.raises(ValueError, match="for ever"):
        actor_options({"lifetime": "for ever"})


def test_streaming_is_a_number_of_returns() -> None:
    assert task_options({"num_returns": "streaming"}).num_returns == "streaming"
    assert task_options({"num_returns": None}).num_returns == 1


def test_what_is_finer_than_a_ten_thousandth_is_refused() -> None:
    assert to_units("num_cpus", 0.0001) == 1
    with pytest.raises(ValueError, match="num_cpus"):
        to_units("num_cpus", 0.00001)


@given(st.lists(st.integers(1, 9999), min_size=1, max_size=50))
def test_fractions_add_up_exactly(parts: list[int]) -> None:
    assert sum(to_units("x", part / UNIT) for part in parts) == sum(parts)


def test_options_are_frozen_and_can_be_keys() -> None:
    assert hash(task_options({})) == hash(task_options({"num_cpus": 1}))
    with pytest.raises(AttributeError):
        task_options({}).name = "x"  # type: ignore[misc]


def test_options_that_are_equal_but_of_other_types_are_each_parsed() -> None:
    def nothing() -> None: ...

    assert remote(num_cpus=1)(nothing)._options == remote(num_cpus=1.0)(nothing)._options
    with pytest.raises(TypeError, match="num_cpus"):
        remote(num_cpus=True)(nothing)
    plain = remote(nothing)
    assert plain.options(name="a")._options.name == "a"
    assert plain.options(name="b", max_retries=0)._options.max_retries == 0
    assert plain.options(max_retries=0).options(name="c")._options.max_retries == 0
