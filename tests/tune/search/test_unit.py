"""A domain as the numbers from 0 to 1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat import tune
from heliostat.tune.search._unit import to_place, to_value

DOMAINS = [
    tune.uniform(-3, 7),
    tune.quniform(0, 1, 0.1),
    tune.loguniform(1e-5, 1e5),
    tune.randint(0, 7),
    tune.qrandint(0, 12, 3),
    tune.lograndint(1, 1000),
    tune.randn(3, 2),
    tune.choice(["a", 1, None]),
]


@pytest.mark.parametrize("domain", DOMAINS, ids=repr)
@given(place=st.floats(0, 1))
def test_a_value_has_a_place_and_a_place_has_a_value(domain, place):
    value = to_value(domain, place)
    assert domain.is_valid(value)
    again = to_value(domain, to_place(domain, value))
    assert again == value or again == pytest.approx(value, rel=1e-6, abs=1e-6)
