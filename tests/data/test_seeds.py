"""What a seed means to a dataset that is run more than once."""

import pytest

import heliostat as ray
from heliostat.data import RandomSeedConfig
from heliostat.data._plan import settled

pytestmark = pytest.mark.usefixtures("inline")

VERBS = {
    "random_shuffle": lambda ds, seed: ds.random_shuffle(seed=seed),
    "randomize_block_order": lambda ds, seed: ds.randomize_block_order(seed=seed),
    "random_sample": lambda ds, seed: ds.random_sample(0.5, seed=seed),
}


@pytest.fixture(params=VERBS)
def drawn(request):
    def draw(seed):
        return VERBS[request.param](ray.data.range(64, override_num_blocks=32), seed)

    return draw


def test_a_seed_gives_the_same_each_time(drawn):
    for seed in (5, RandomSeedConfig(5, reseed_after_execution=False)):
        ds = drawn(seed)
        assert ds.take_all() == ds.take_all() == drawn(5).take_all()


def test_reseeding_gives_another_order_each_time_and_the_same_succession_again(drawn):
    ds = drawn(RandomSeedConfig(5))
    times = [ds.take_all() for _ in range(3)]
    assert times[0] != times[1] != times[2]
    again = drawn(RandomSeedConfig(5))
    assert [again.take_all() for _ in range(3)] == times


def test_reseeding_reaches_below_other_verbs():
    ds = ray.data.range(64).random_shuffle(seed=RandomSeedConfig(5))
    both = ds.union(ray.data.range(3)).map(lambda row: {"a": row["id"]})
    assert both.take_all() != both.take_all()
    assert sorted(row["a"] for row in both.take_all()) == sorted([*range(64), *range(3)])


def test_a_plan_that_asks_for_nothing_is_left_as_it_is():
    plan = (
        ray.data.range(3).random_shuffle(seed=1).random_sample(0.5).union(ray.data.range(2))._plan
    )
    assert settled(plan) is plan


def test_no_seed_draws_anew():
    ds = ray.data.range(64).random_shuffle(seed=RandomSeedConfig())
    assert ds.take_all() != ds.take_all()


@pytest.mark.parametrize("seed", ["a", 1.5, True])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(TypeError, match="random_shuffle"):
        ray.data.range(3).random_shuffle(seed=seed)
    with pytest.raises(ValueError, match="seed must be"):
        RandomSeedConfig(1.5 if seed == "a" else seed)
