"""Random and grid search: how many, in which order, by which seed."""

import pickle

import numpy as np
import pytest

from heliostat import tune
from heliostat.tune.search import BasicVariantGenerator, ConcurrencyLimiter, Repeater, Searcher

SPACE = {"x": tune.uniform(0, 1), "g": tune.grid_search([1, 2])}


def introduced(searcher, space=SPACE, num_samples=1):
    assert searcher.set_search_properties("loss", "min", space, num_samples=num_samples)
    return searcher


def all_of(searcher):
    found = []
    while (config := searcher.suggest(str(len(found)))) != Searcher.FINISHED:
        found.append(config)
        searcher.on_trial_complete(str(len(found)))
    return found


def test_the_grid_is_repeated_for_each_sample():
    searcher = introduced(BasicVariantGenerator(random_state=0), num_samples=3)
    assert searcher.total_samples == 6
    assert [config["g"] for config in all_of(searcher)] == [1, 2] * 3


def test_without_end_there_is_always_another():
    searcher = introduced(BasicVariantGenerator(), {"x": 1}, num_samples=-1)
    assert searcher.total_samples == float("inf")
    assert [searcher.suggest(str(n)) for n in range(5)] == [{"x": 1}] * 5


def test_points_come_first_and_count_as_samples():
    points = [{"x": 0.5}, {"x": 0.25, "g": 2}]
    searcher = introduced(BasicVariantGenerator(points), num_samples=3)
    assert searcher.total_samples == 2 + 1 + 2
    found = all_of(searcher)
    assert found[:3] == [{"x": 0.5, "g": 1}, {"x": 0.5, "g": 2}, {"x": 0.25, "g": 2}]
    assert len(found) == 5


def test_a_point_outside_its_domain_is_named():
    with pytest.raises(ValueError, match=r"x=7, which is not in tune\.\w+\("):
        introduced(BasicVariantGenerator([{"x": 7}]))


def test_no_more_than_the_limit_are_under_way():
    searcher = introduced(BasicVariantGenerator(max_concurrent=1), num_samples=2)
    assert searcher.suggest("1") is not None
    assert searcher.suggest("2") is None
    searcher.on_trial_complete("1")
    assert searcher.suggest("2") is not None
    with pytest.raises(ValueError, match="max_concurrent"):
        BasicVariantGenerator(max_concurrent=-1)


def test_numpys_global_seed_gives_the_same_study_and_the_next_one_is_another():
    def study():
        return all_of(introduced(BasicVariantGenerator(), num_samples=5))

    np.random.seed(7)
    first, second = study(), study()
    np.random.seed(7)
    assert study() == first
    values = {config["x"] for config in first}
    assert values.isdisjoint(config["x"] for config in second)


def test_what_others_draw_meanwhile_changes_nothing():
    quiet = introduced(BasicVariantGenerator(random_state=1), num_samples=3)
    np.random.seed(7)
    loud = introduced(BasicVariantGenerator(), num_samples=3)
    np.random.seed(7)
    same = introduced(BasicVariantGenerator(), num_samples=3)
    loud_configs = []
    for n in range(6):
        np.random.random()
        loud_configs.append(loud.suggest(str(n)))
    assert loud_configs == all_of(same)
    assert len(all_of(quiet)) == 6


def test_a_pickled_searcher_proposes_the_same():
    searcher = BasicVariantGenerator(random_state=3)
    copy = pickle.loads(pickle.dumps(searcher))
    assert all_of(introduced(copy)) == all_of(introduced(searcher))


@pytest.mark.parametrize("point", [{"y": 1}, {"net": {"width": 1}}])
def test_a_point_with_a_key_that_the_space_lacks_is_refused(point):
    space = {**SPACE, "net": {"depth": tune.randint(1, 5)}, "constant": 3}
    with pytest.raises(ValueError, match=r"'(y|width)'=1, which param_space does not have"):
        introduced(BasicVariantGenerator([point]), space)
    assert introduced(BasicVariantGenerator([{"constant": 4}]), space).suggest("0")["constant"] == 4


@pytest.mark.parametrize("points", [{"x": 1}, [5], "x"])
def test_points_that_are_no_configs_are_refused(points):
    with pytest.raises(TypeError, match="points_to_evaluate must be a list of configs"):
        BasicVariantGenerator(points)


def test_a_limit_that_is_no_whole_number_is_refused():
    for make in (
        lambda: BasicVariantGenerator(max_concurrent=1.5),
        lambda: ConcurrencyLimiter(BasicVariantGenerator(), 1.5),
        lambda: Repeater(BasicVariantGenerator(), 1.5),
    ):
        with pytest.raises(ValueError, match=r"must be a whole number >= [01], got 1.5"):
            make()
