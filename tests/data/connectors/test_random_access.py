"""Rows that are found by their key."""

import datetime as dt

import pytest

import heliostat as ray

DAY = dt.datetime(2024, 1, 1)


@pytest.fixture
def rows(inline):
    """A hundred, not sorted; keys are even, so that there are gaps."""

    def row(given):
        number = 2 * ((given["id"] * 37) % 100)
        return {"n": number, "t": DAY + dt.timedelta(days=number), "s": f"{number:03}"}

    return ray.data.range(100, override_num_blocks=4).map(row)


@pytest.mark.parametrize("workers", [1, 3, None, 1000])
@pytest.mark.parametrize(
    ("key", "there", "gap"),
    [
        ("n", 84, 85),
        ("t", DAY + dt.timedelta(days=84), DAY + dt.timedelta(days=85)),
        ("s", "084", "085"),
    ],
)
def test_rows_are_found_by_keys_of_any_type(rows, key, there, gap, workers):
    found = rows.to_random_access_dataset(key, num_workers=workers)
    assert ray.get(found.get_async(there))["n"] == 84
    assert ray.get(found.get_async(gap)) is None
    first, *rest = found.multiget([there, gap, there])
    assert first["n"] == 84
    assert rest == [None, first]


def test_keys_before_the_first_and_behind_the_last_are_not_there(rows):
    found = rows.to_random_access_dataset("n", 3)
    assert found.multiget([-1, 0, 198, 199, 10**6, 0.5])[1]["n"] == 0
    assert [row and row["n"] for row in found.multiget([-1, 0, 198, 199])] == [None, 0, 198, None]
    assert found.multiget([]) == []


def test_the_actors_say_what_they_hold_and_were_asked(rows):
    found = rows.to_random_access_dataset("n", num_workers=3)
    found.multiget([0, 2, 198])
    ray.get(found.get_async(4))
    assert "3 actors, rows each: 32 to 34" in found.stats()
    assert "keys asked for: 4, of one actor 0 to 3" in found.stats()


def test_what_has_no_key_is_refused(inline):
    with pytest.raises(KeyError, match="nope"):
        ray.data.range(3).to_random_access_dataset("nope")
    with pytest.raises(ValueError, match="no rows"):
        ray.data.range(0).to_random_access_dataset("id")
    with pytest.raises(ValueError, match="null in some rows"):
        ray.data.from_items([{"a": 1}, {"a": None}]).to_random_access_dataset("a")
    with pytest.raises(ValueError, match="num_workers must be >= 1, got 0"):
        ray.data.range(3).to_random_access_dataset("id", 0)
