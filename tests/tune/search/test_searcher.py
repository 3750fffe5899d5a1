"""Searcher and ConcurrencyLimiter."""

import pytest

from heliostat.tune.search import ConcurrencyLimiter, Searcher


class Count(Searcher):
    def __init__(self):
        super().__init__()
        self.completed = []
        self.results = []
        self.proposed = 0

    def suggest(self, trial_id):
        self.proposed += 1
        return {"n": self.proposed}

    def on_trial_result(self, trial_id, result):
        self.results.append(trial_id)

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.completed.append((trial_id, error))


def test_a_mode_is_min_or_max():
    with pytest.raises(ValueError, match="best"):
        Searcher(mode="best")


def test_a_limiter_proposes_no_more_than_its_limit():
    limited = ConcurrencyLimiter(Count(), 2)
    assert [limited.suggest(n) for n in "abc"] == [{"n": 1}, {"n": 2}, None]
    limited.on_trial_result("a", {})
    limited.on_trial_complete("a")
    assert limited.suggest("c") == {"n": 3}
    assert limited.searcher.completed == [("a", False)]
    assert limited.searcher.results == ["a"]


def test_a_batch_ends_as_a_whole():
    limited = ConcurrencyLimiter(Count(), 2, batch=True)
    limited.suggest("a")
    limited.suggest("b")
    limited.on_trial_complete("b", error=True)
    assert limited.searcher.completed == []
    assert limited.suggest("c") is None
    limited.on_trial_complete("a")
    assert sorted(limited.searcher.completed) == [("a", False), ("b", True)]
    assert limited.suggest("c") == {"n": 3}


def test_trials_of_others_do_not_count():
    limited = ConcurrencyLimiter(Count(), 1)
    limited.on_trial_complete("stranger")
    assert limited.searcher.completed == []


def test_the_searcher_inside_hears_what_the_study_is_about():
    limited = ConcurrencyLimiter(Count(), 1)
    assert limited.set_search_properties("loss", "min", {}) is False
    assert (limited.searcher.metric, limited.searcher.mode) == ("loss", "min")
    assert limited.total_samples is None


def test_a_limit_under_one_is_refused():
    with pytest.raises(ValueError, match="max_concurrent must be a whole number >= 1, got 0"):
        ConcurrencyLimiter(Count(), 0)
