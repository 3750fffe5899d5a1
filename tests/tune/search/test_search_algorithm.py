"""SearchGenerator: a searcher under Ray's other name."""

import pytest

from heliostat import tune
from heliostat.tune.search import BasicVariantGenerator, SearchAlgorithm, SearchGenerator


def test_it_passes_everything_on(run_study):
    grid = run_study(
        lambda config: {"loss": config["x"]},
        {"x": tune.grid_search([1, 2])},
        metric="loss",
        mode="min",
        search_alg=SearchGenerator(BasicVariantGenerator()),
    )
    assert [result.config["x"] for result in grid] == [1, 2]


def test_it_knows_when_it_is_done():
    generator = SearchGenerator(BasicVariantGenerator())
    generator.set_search_properties(None, None, {}, num_samples=1)
    assert generator.total_samples == 1
    generator.suggest("0")
    assert not generator.is_finished()
    assert generator.suggest("1") == "FINISHED"
    assert generator.is_finished()
    with pytest.raises(TypeError, match="takes a Searcher"):
        SearchGenerator(3)
    with pytest.raises(NotImplementedError, match="must override suggest"):
        SearchAlgorithm().suggest("0")
