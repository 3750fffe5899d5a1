"""Coroutines as functions of Data."""

import asyncio

import pytest

import heliostat as ray
from heliostat.data._awaited import Awaited
from heliostat.data._plan import is_async

pytestmark = pytest.mark.usefixtures("inline")


async def later(row):
    # Who comes first waits longest.
    for _ in range(5 - row["id"] % 5):
        await asyncio.sleep(0)
    return {"id": row["id"]}


async def batches(batch):
    for number in batch["id"]:
        await asyncio.sleep(0)
        yield {"id": [number, number]}


class Later:
    def __init__(self, add):
        self.add = add

    async def __call__(self, batch, times=1):
        await asyncio.sleep(0)
        return {"id": (batch["id"] + self.add) * times}


def ids(ds):
    return [row["id"] for row in ds.iter_rows()]


def test_functions_generators_and_classes_are_awaited_and_rows_stay_in_order():
    ds = ray.data.range(20)
    assert ids(ds.map(later)) == list(range(20))
    twice = [number for number in range(20) for _ in range(2)]
    assert ids(ds.map_batches(batches, batch_size=3)) == twice
    pool = ds.map_batches(
        Later, fn_constructor_args=(1,), fn_kwargs={"times": 2}, batch_size=3, concurrency=1
    )
    assert ids(pool) == [2 * number + 2 for number in range(20)]

    async def even(row):
        await asyncio.sleep(0)
        return row["id"] % 2 == 0

    async def both(row):
        return [row, row]

    async def each(row):
        yield row
        yield row

    assert ids(ds.filter(even)) == list(range(0, 20, 2))
    assert ids(ds.flat_map(both)) == ids(ds.flat_map(each)) == twice


def test_as_many_calls_wait_at_once_as_may():
    for calls, most in ((None, 4), (7, 7)):

        class Counts:
            def __init__(self):
                self.inside = 0

            async def __call__(self, row):
                self.inside += 1
                for _ in range(10):
                    await asyncio.sleep(0)
                seen, self.inside = self.inside, self.inside - 1
                return {"seen": seen}

        ds = ray.data.range(40, override_num_blocks=1).map(
            Counts, compute=ray.data.ActorPoolStrategy(size=1, max_concurrent_calls_per_actor=calls)
        )
        assert max(row["seen"] for row in ds.iter_rows()) == most


def test_an_error_names_the_step_and_ends_the_others():
    ended = []

    async def fails(row):
        try:
            if row["id"] == 2:
                raise RuntimeError("no 2")
            for _ in range(50):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            ended.append(row["id"])
            raise
        return row

    awaited = Awaited(fails, 4, lambda error: error.add_note("in Map(fails)"))
    made = awaited.ahead(({"id": number} for number in range(9)), lambda row: ((row,), {}))
    found = []
    with pytest.raises(RuntimeError, match="no 2") as told:
        found += [row["id"] for row, _ in made]
    assert told.value.__notes__ == ["in Map(fails)"]
    assert set(ended) <= set(range(3, 9))
    with pytest.raises(RuntimeError, match=r"Map\(fails\)"):
        ray.data.range(5).map(fails).take_all()


def test_failing_rows_may_be_left_out():
    async def fails(row):
        await asyncio.sleep(0)
        return {"id": 1 // (row["id"] % 3)}

    assert ids(ray.data.range(6).map(fails, on_error="skip")) == [1, 0, 1, 0]


def test_what_is_to_be_awaited_is_told_from_other_functions():
    assert is_async(later)
    assert is_async(batches)
    assert is_async(Later)
    assert is_async(Later(1))
    assert not is_async(print)
    assert not is_async(dict)
    assert not is_async(lambda row: row)
