"""Domains: what they draw, how they round, what they refuse."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.tune.search import grid_search
from heliostat.tune.search import sample as s

SEEDS = range(50)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(0, 2**31))
def test_uniform_stays_within_its_bounds(low, width, seed):
    assert low <= s.uniform(low, low + width).sample(random_state=seed) <= low + width


@given(st.floats(1e-9, 1e3), st.floats(1.001, 1e6), st.integers(0, 2**31))
def test_loguniform_stays_within_its_bounds(low, factor, seed):
    assert low <= s.loguniform(low, low * factor).sample(random_state=seed) <= low * factor


def test_loguniform_draws_each_order_of_magnitude_equally_often():
    draws = s.loguniform(1e-4, 1.0).sample(size=4000, random_state=1)
    share = sum(draw < 1e-2 for draw in draws) / len(draws)
    assert share == pytest.approx(0.5, abs=0.05)


def test_randint_leaves_its_upper_bound_out():
    assert set(s.randint(2, 4).sample(size=100, random_state=0)) == {2, 3}


def test_a_stepped_integer_range_includes_its_upper_bound():
    assert set(s.qrandint(8, 32, 8).sample(size=200, random_state=0)) == {8, 16, 24, 32}


def test_a_step_of_one_leaves_the_upper_bound_out():
    assert set(s.qrandint(0, 2).sample(size=100, random_state=0)) == {0, 1}


@given(st.integers(0, 2**31))
def test_stepped_floats_are_multiples_within_the_bounds(seed):
    value = s.quniform(0.25, 1.6, 0.5).sample(random_state=seed)
    assert value in (0.5, 1.0, 1.5)
    stepped = s.qloguniform(1, 100, 5).sample(random_state=seed)
    assert (type(stepped), stepped % 5) == (float, 0)


def test_a_bound_that_is_a_multiple_but_for_rounding_is_one():
    assert {round(s.quniform(0.1, 0.3, 0.1).sample(random_state=n), 9) for n in SEEDS} == {
        0.1,
        0.2,
        0.3,
    }


def test_lograndint_draws_whole_numbers_within_its_bounds():
    draws = s.lograndint(1, 1000).sample(size=500, random_state=3)
    assert all(isinstance(draw, int) and 1 <= draw < 1000 for draw in draws)
    assert all(d % 10 == 0 for d in s.qlograndint(10, 1000, 10).sample(size=99, random_state=3))


def test_randn_has_the_mean_it_was_given():
    draws = s.randn(10, 2).sample(size=2000, random_state=0)
    assert np.mean(draws) == pytest.approx(10, abs=0.2)
    assert s.qrandn(0, 3, 0.5).sample(random_state=0) % 0.5 == 0


def test_choice_keeps_the_types_of_its_values():
    values = s.choice(["a", 1, None]).sample(size=100, random_state=0)
    assert {type(value) for value in values} == {str, int, type(None)}


def test_sample_from_may_take_the_config_or_nothing():
    assert s.sample_from(lambda config: config["a"] + 1).sample({"a": 1}) == 2
    assert s.sample_from(lambda: 7).sample() == 7


def test_one_seed_gives_one_value():
    for domain in (s.uniform(0, 1), s.randint(0, 99), s.choice([1, 2, 3]), s.randn()):
        assert domain.sample(size=5, random_state=4) == domain.sample(size=5, random_state=4)


def test_numpys_global_seed_counts_when_none_is_given():
    np.random.seed(1)
    first = s.uniform(0, 1).sample()
    np.random.seed(1)
    assert s.uniform(0, 1).sample() == first


def test_both_kinds_of_numpy_generator_will_do():
    domain = s.randint(0, 1000)
    assert domain.sample(random_state=np.random.RandomState(1)) == np.random.RandomState(1).randint(
        0, 1000
    )
    assert domain.sample(random_state=np.random.default_rng(1)) == domain.sample(random_state=1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: s.uniform(1, 1), "below the upper bound"),
        (lambda: s.uniform(2, 1), "2, 1"),
        (lambda: s.uniform(0, math.inf), "finite"),
        (lambda: s.uniform("a", 1), "finite number, got 'a'"),
        (lambda: s.loguniform(0, 1), "above 0"),
        (lambda: s.quniform(0, 1, 0), "q must be > 0"),
        (lambda: s.qrandint(1, 3, 5), "no multiple of q=5"),
        (lambda: s.randn(0, 0), "sd must be > 0"),
        (lambda: s.randn("a", 1), "mean must be a number, got 'a'"),
        (lambda: s.randint(0.5, 3), "lower bound of whole numbers must be one itself, got 0.5"),
        (lambda: s.lograndint(1, 3.5), "upper bound of whole numbers"),
        (lambda: s.qrandint(0, 10, 2.5), "q of whole numbers must be one itself, got 2.5"),
        (lambda: s.qrandn(0, 1, 0), "q must be > 0"),
        (lambda: s.loguniform(1, 2, base=1), "base must be"),
        (lambda: s.choice([]), "at least one value"),
        (lambda: grid_search([]), "at least one value"),
    ],
)
def test_a_domain_that_makes_no_sense_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_what_is_no_list_is_no_choice():
    for make in (s.choice, grid_search):
        with pytest.raises(TypeError, match="list of values, got 3"):
            make(3)


def test_sample_from_refuses_what_cannot_be_called():
    with pytest.raises(TypeError, match="needs a function, got 3"):
        s.sample_from(3)


def test_domains_know_their_values():
    assert s.uniform(0, 1).is_valid(0.5)
    assert not s.uniform(0, 1).is_valid(2)
    assert not s.uniform(0, 1).is_valid("x")
    assert s.randint(0, 5).is_valid(3)
    assert not s.randint(0, 5).is_valid(2.5)
    assert s.choice(["a"]).is_valid("a")
    assert s.sample_from(lambda: 1).is_valid(object())


def test_domains_change_shape_on_request():
    assert s.Float(1, 10).loguniform() == s.loguniform(1, 10)
    assert s.Float(1, 10).uniform().quantized(2) == s.quniform(1, 10, 2)
    assert s.Float(1, 10).normal(3, 1) == s.randn(3, 1)
    assert s.Integer(1, 10).loguniform().uniform().quantized(2) == s.qrandint(1, 10, 2)
    assert s.Categorical([1, 2]).grid() == grid_search([1, 2])
    assert s.Categorical([1, 2]).uniform()[1] == 2
    assert len(s.choice([1, 2])) == 2
    assert (s.uniform(0, 1).cast("0.5"), s.randint(0, 3).cast(1.0)) == (0.5, 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: s.uniform(2, 1), r"tune.uniform\(2, 1\): .* got 2, 1; swap them"),
        (lambda: s.quniform(2, 1, 0.5), r"tune.quniform\(2, 1, 0.5\): "),
        (lambda: s.loguniform(0, 1), r"tune.loguniform\(0, 1\): .* got lower=0; begin at"),
        (lambda: s.qloguniform(0, 1, 1), r"tune.qloguniform\(0, 1, 1\): "),
        (lambda: s.randint(5, 5), r"tune.randint\(5, 5\): .* 5, 5; write a value that is fixed"),
        (lambda: s.qrandint(1, 2, 5), r"tune.qrandint\(1, 2, 5\): no multiple.*smaller q"),
        (lambda: s.lograndint(0, 9), r"tune.lograndint\(0, 9\): "),
        (lambda: s.qlograndint(9, 1, 2), r"tune.qlograndint\(9, 1, 2\): "),
        (lambda: s.randn(0, 0), r"tune.randn\(0, 0\): sd must be > 0"),
        (lambda: s.qrandn(0, 1, -1), r"tune.qrandn\(0, 1, -1\): q must be > 0"),
    ],
)
def test_a_range_that_is_none_is_refused_with_the_function_the_values_and_what_to_do(make, says):
    with pytest.raises(ValueError, match=says):
        make()
