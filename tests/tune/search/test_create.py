"""create_searcher: by name."""

import pytest

from heliostat import tune
from heliostat.tune.search import BasicVariantGenerator
from heliostat.tune.search.bohb import TuneBOHB


def test_searchers_have_names():
    assert isinstance(tune.create_searcher("variant_generator"), BasicVariantGenerator)
    assert isinstance(tune.create_searcher("BOHB", metric="a", mode="min"), TuneBOHB)


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"variant_generator, .*got 'best'"):
        tune.create_searcher("best")


@pytest.mark.parametrize("name", ["hebo", "zoopt"])
def test_those_not_offered_say_what_to_use_instead(name):
    with pytest.raises(NotImplementedError, match=r"use .*Search or .*Search"):
        tune.create_searcher(name)
