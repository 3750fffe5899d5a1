"""Executions are seen while they run and afterwards, with how each operator does."""

import pytest

import heliostat as ray
from heliostat.data.executions import list_executions
from heliostat.util import progress


@pytest.fixture(autouse=True)
def somebody_looks(inline, monkeypatch):
    monkeypatch.setattr(progress.Ledger, "kept_everywhere", True)


def test_an_execution_is_seen_while_it_runs_and_when_it_has_finished():
    rows = ray.data.range(1000, override_num_blocks=4).map(lambda row: row).iter_rows()
    next(rows)
    running = list_executions()[-1]
    assert running["state"] == "RUNNING"
    assert sum(1 for _ in rows) == 999
    ended = list_executions()[-1]
    assert ended["state"] == "FINISHED"
    assert ended["operators"][-1]["rows_out"] == 1000
    assert ended["operators"][-1]["running"] == 0
    assert ended["seconds"] > 0
    assert ended["budget_bytes"] > 0


def test_one_whose_consumer_goes_has_stopped():
    rows = ray.data.range(1000, override_num_blocks=4).map(lambda row: row).iter_rows()
    next(rows)
    rows.close()
    assert list_executions()[-1]["state"] == "STOPPED"


def test_one_that_fails_says_why():
    def broken(row):
        raise ValueError("no such luck")

    with pytest.raises(ValueError, match="no such luck"):
        ray.data.range(2).map(broken).materialize()
    assert list_executions()[-1]["state"] == "FAILED"
    assert "no such luck" in list_executions()[-1]["error"]
