"""Samplers: what a domain's distribution is, apart from its bounds."""

import pytest

from heliostat import tune
from heliostat.tune.search.sample import (
    Float,
    Integer,
    LogUniform,
    Normal,
    Quantized,
    Sampler,
    Uniform,
)

ENGINE = None


@pytest.mark.parametrize(
    ("domain", "sampler"),
    [
        (tune.uniform(0, 1), Uniform()),
        (tune.loguniform(1, 10), LogUniform()),
        (tune.quniform(0, 1, 0.5), Quantized(Uniform(), 0.5)),
        (tune.qloguniform(1, 10, 2), Quantized(LogUniform(), 2)),
        (tune.randn(3, 2), Normal(3, 2)),
        (tune.qrandn(3, 2, 0.5), Quantized(Normal(3, 2), 0.5)),
        (tune.randint(1, 10), Uniform()),
        (tune.lograndint(1, 10), LogUniform()),
        (tune.choice(["a", "b"]), Uniform()),
    ],
)
def test_a_domain_tells_its_distribution_which_draws_what_it_draws(domain, sampler):
    found = domain.get_sampler()
    assert found == sampler
    drawn = domain.sample(size=20, random_state=1)
    assert found.sample(domain, size=20, random_state=1) == drawn


def test_a_function_is_drawn_from_by_calling_it():
    domain = tune.sample_from(lambda config: config["x"] + 1)
    sampler = domain.get_sampler()
    assert type(sampler) is Sampler
    assert sampler.sample(domain, {"x": 1}) == 2


def test_a_sampler_draws_from_the_bounds_of_another_domain():
    stepped = Quantized(LogUniform(), 10)
    assert stepped.get_sampler() == LogUniform()
    values = stepped.sample(Integer(10, 1000), size=50, random_state=2)
    assert all(value % 10 == 0 and 10 <= value <= 1000 for value in values)
    with pytest.raises(ValueError, match="q must be"):
        Quantized(Uniform(), -1).sample(Float(0, 1))
