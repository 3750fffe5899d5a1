"""What executions did, as values."""

import pytest

import heliostat as ray
from heliostat.data import DataContext, list_stats_summaries

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def collecting():
    context = DataContext.get_current()
    context.enable_stats_summary_collection = True
    yield
    context.enable_stats_summary_collection = False


def test_a_summary_says_what_stats_says():
    ds = ray.data.range(10).map(lambda row: row)
    assert ds.get_stats_summary().operators_stats == ()
    assert ds.get_stats_summary().to_string() == ds.stats()
    made = ds.materialize()
    summary = made.get_stats_summary()
    assert summary.to_string() == made.stats()
    assert summary.num_rows == 10
    stage = summary.operators_stats[-1]
    assert stage.operator_name in made.stats()
    assert stage.total_output_num_rows == 10
    assert stage.num_rows_per_task_s > 0
    assert summary.base_name == stage.operator_name


def test_summaries_are_kept_if_that_is_asked_for(collecting):
    before = len(list_stats_summaries())
    ds = ray.data.range(10).map(lambda row: row)
    ds.set_name("ten")
    ds.take_all()
    ds.count()
    new = list_stats_summaries()[before:]
    assert [one.base_name for one in new] == ["ten", "ten"]
    DataContext.get_current().enable_stats_summary_collection = False
    ds.take_all()
    assert len(list_stats_summaries()) == before + 2
