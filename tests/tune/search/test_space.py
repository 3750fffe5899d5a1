"""A search space becomes configs: completely, in a fixed order, and by the seed alone."""

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat import tune
from heliostat.tune.search import _space
from heliostat.tune.search import sample as s
from heliostat.tune.search.randomness import as_rng


def configs(space, seed=0, samples=1, constant=False):
    rng = as_rng(seed)
    return [
        config
        for _ in range(samples)
        for config in _space.variants(space, rng, constant_grid_search=constant)
    ]


def test_a_space_without_open_values_is_its_own_only_variant():
    assert configs({"a": 1, "b": {"c": [2]}}) == [{"a": 1, "b": {"c": [2]}}]


def test_grids_are_multiplied_with_the_first_by_name_fastest():
    space = {"b": _space.grid_search([1, 2]), "a": _space.grid_search(["x", "y"])}
    assert [(c["a"], c["b"]) for c in configs(space)] == [("x", 1), ("y", 1), ("x", 2), ("y", 2)]
    assert _space.grid_size(space) == 4


def test_values_are_found_in_dicts_lists_and_tuples():
    space = {"a": {"b": [s.uniform(0, 1), 2]}, "t": (1, s.randint(5, 6), {"x": s.choice([7])})}
    [config] = configs(space)
    assert 0 <= config["a"]["b"][0] < 1
    assert config["t"] == (1, 5, {"x": 7})


def test_the_space_itself_is_never_changed():
    inner = {"b": s.uniform(0, 1)}
    space = {"a": inner, "g": _space.grid_search([[1], [2]])}
    first, second = configs(space)
    first["g"].append(9)
    assert inner == {"b": s.uniform(0, 1)}
    assert (second["g"], space["g"]) == ([2], {"grid_search": [[1], [2]]})


def test_a_chosen_space_is_resolved_in_turn():
    space = {"opt": s.choice([{"name": "sgd", "lr": s.uniform(0, 1)}])}
    [config] = configs(space)
    assert 0 <= config["opt"]["lr"] < 1


@pytest.mark.parametrize("points", [3, "abc", {"a": 1}, iter([1])])
def test_a_grid_of_what_is_no_list_is_refused_by_its_key(points):
    with pytest.raises(TypeError, match=r"param_space\['net/depth'\].*grid_search"):
        _space.grid_size({"net": {"depth": {"grid_search": points}}})


def test_a_grid_inside_a_grid_is_multiplied_out():
    space = {"a": _space.grid_search([{"x": _space.grid_search([1, 2])}, 3])}
    assert [c["a"] for c in configs(space)] == [{"x": 1}, {"x": 2}, 3]


def test_functions_wait_for_what_they_read():
    space = {
        "c": s.sample_from(lambda config: config["b"] + 1),
        "b": s.sample_from(lambda config: config.a * 10),
        "a": s.randint(3, 4),
    }
    assert configs(space) == [{"c": 31, "b": 30, "a": 3}]


def test_functions_may_be_written_for_the_older_spec():
    space = {"a": 2, "n": {"g": _space.grid_search([5])}}
    space["f"] = s.sample_from(lambda spec: spec.config.a * spec.config.n.g)
    assert configs(space)[0]["f"] == 10


def test_functions_that_wait_for_each_other_are_named():
    space = {
        "a": s.sample_from(lambda config: config["b"]),
        "n": {"b": 1},
        "b": s.sample_from(lambda config: config["a"]),
    }
    with pytest.raises(_space.UnresolvableError, match="a, b"):
        configs(space)


def test_a_mistake_in_a_function_is_shown_as_it_is():
    with pytest.raises(KeyError, match="missing"):
        configs({"a": s.sample_from(lambda config: config["missing"])})


def test_random_values_differ_between_the_points_of_a_grid():
    space = {"g": _space.grid_search([1, 2, 3]), "x": s.uniform(0, 1)}
    assert len({c["x"] for c in configs(space)}) == 3


def test_random_values_are_constant_over_the_grid_on_request():
    space = {"g": _space.grid_search([1, 2, 3]), "x": s.choice([{"y": s.uniform(0, 1)}])}
    found = configs(space, samples=2, constant=True)
    assert [c["x"] for c in found[:3]] == [found[0]["x"]] * 3
    assert found[3]["x"] != found[0]["x"]


@given(st.integers(0, 2**31))
def test_one_seed_gives_one_list_of_configs(seed):
    space = {"a": s.uniform(0, 1), "b": {"c": s.randint(0, 99)}, "g": _space.grid_search([1, 2])}
    assert configs(space, seed, samples=3) == configs(space, seed, samples=3)


def test_a_preset_goes_on_top_at_every_depth():
    space = {"a": {"b": s.uniform(0, 1), "c": 1}, "g": _space.grid_search([1, 2])}
    assert _space.preset(space, {"a": {"b": 5}, "g": 1}) == {"a": {"b": 5, "c": 1}, "g": 1}


def test_a_tag_names_what_was_chosen_and_is_a_file_name():
    space = {"lr": s.uniform(0, 1), "n": {"act": s.choice(["a/b c"])}, "k": 1}
    assert (
        _space.tag(space, {"lr": 0.12345, "n": {"act": "a/b c"}, "k": 1}) == "lr=0.1235,act=a_b_c"
    )
    assert _space.tag(space, {"lr": 1e-9}) == "lr=1e-09"


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"lr": functools.partial(tune.uniform, 0)}, r"param_space\['lr'\] is tune.uniform itself"),
        ({"lr": tune.uniform}, r"param_space\['lr'\] is tune.uniform itself.*tune.uniform\(...\)"),
        ({"net": {"depth": [1, tune.randint]}}, r"param_space\['net/depth/1'\] is tune.randint"),
        ({"x": tune.grid_search}, r"param_space\['x'\] is tune.grid_search"),
        ({"x": s.Float}, r"param_space\['x'\] is tune.Float"),
        ({"x": tune.choice([1, tune.loguniform])}, r"param_space\['x/1'\] is tune.loguniform"),
        ({"x": tune.grid_search([tune.randn])}, r"grid_search/0'\] is tune.randn"),
    ],
)
def test_what_makes_a_domain_and_was_not_called_is_no_constant(space, says):
    with pytest.raises(TypeError, match=says):
        tune.Tuner(len, param_space=space)


def test_functions_and_classes_of_the_user_are_constants():
    space = {
        "act": abs,
        "kind": int,
        "own": lambda x: x,
        "nested": [max],
        "f": tune.sample_from(abs),
    }
    tune.Tuner(len, param_space=space)


@pytest.mark.parametrize("values", ["abc", b"abc", {"a": 1}, 3])
def test_what_is_no_list_of_values_is_no_grid(values):
    with pytest.raises(TypeError, match=r"takes a list of values, got .*; one is \["):
        _space.grid_search(values)
