"""What gives a block at a time keeps to its memory, and gives the same with disk."""

import pytest

import heliostat as ray
from heliostat.data import _sorting

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def rows():
    return ray.data.range(10_000, override_num_blocks=4).map(
        lambda r: {"k": r["id"] % 7, "v": r["id"]}
    )


@pytest.fixture
def little_memory(monkeypatch):
    def set_it():
        monkeypatch.setattr(ray.data.DataContext.get_current(), "memory_budget_bytes", 100_000)

    return set_it


def test_what_is_larger_than_memory_is_sorted_in_the_same_order(rows, little_memory, monkeypatch):
    large = rows.sort(["k", "v"], descending=[True, False])
    expected = large.take_all()
    files = []
    write = _sorting.SpillFile.write
    monkeypatch.setattr(
        _sorting.SpillFile, "write", lambda self, t: files.append(self) or write(self, t)
    )
    little_memory()
    assert large.take_all() == expected
    assert files
    assert "Sort(k, v)" in large.stats()


def test_a_shuffle_follows_its_seed_however_much_memory_there_is(rows, little_memory):
    once = [row["v"] for row in rows.random_shuffle(seed=3).take_all()]
    assert sorted(once) == list(range(10_000))
    assert once[:100] != list(range(100))
    little_memory()
    assert [row["v"] for row in rows.random_shuffle(seed=3).take_all()] == once


def test_an_error_below_a_sort_is_the_users_own():
    def refuse(row):
        raise ZeroDivisionError("theirs")

    with pytest.raises(ZeroDivisionError, match="theirs"):
        ray.data.range(5).map(refuse).sort("id").take_all()


def test_a_sort_says_how_it_runs_and_what_below_it(capsys):
    ray.data.range(5).map(lambda row: row).sort("id").select_columns("id").explain()
    said = capsys.readouterr().out
    assert "Sort(id), 1 inputs, in place" in said
    assert "   0: Range(5)" in said


def test_who_looks_at_the_first_rows_only_stops_what_is_below():
    batches = ray.data.range(1000).random_shuffle(seed=1).iter_batches(batch_size=10)
    assert len(next(batches)["id"]) == 10
    batches.close()
