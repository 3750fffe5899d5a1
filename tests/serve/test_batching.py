"""@serve.batch: results, errors, streams; and a queue that nothing stops."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable
from typing import Any

import cloudpickle
import pytest
import uvloop

from heliostat import serve
from heliostat.serve.context import RequestContext, serving

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as _runner:
    _runner.run(asyncio.sleep(0))  # uvloop's first loop makes a pipe that stays with the process


def run(work: Awaitable[Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 20))


async def outcomes(*calls: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


class Adder:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    @serve.batch(max_batch_size=4, batch_wait_timeout_s=0.02)
    async def add(self, xs: list[int], y: list[int]) -> list[int]:
        self.sizes.append(len(xs))
        return [a + b for a, b in zip(xs, y, strict=True)]


def test_calls_are_collected_and_each_gets_its_own_result():
    async def go() -> None:
        adder = Adder()
        assert await outcomes(*(adder.add(i, y=10) for i in range(6))) == list(range(10, 16))
        assert adder.sizes == [4, 2]

    run(go())


def test_timers_that_are_due_at_once_are_no_trouble_for_uvloop():
    # Its loop gives handles that do not know their time when that is less than a millisecond away.
    @serve.batch(max_batch_size=100, batch_wait_timeout_s=0.0004)
    async def echo(xs: list[int]) -> list[int]:
        return xs

    async def go() -> None:
        for _ in range(20):
            assert await outcomes(*(echo(i) for i in range(10))) == list(range(10))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(go(), 20))


def test_objects_do_not_share_a_queue():
    async def go() -> None:
        one, two = Adder(), Adder()
        await outcomes(one.add(1, y=1), two.add(1, y=1))
        assert (one.sizes, two.sizes) == ([1], [1])

    run(go())


def test_an_error_of_the_function_reaches_all_of_the_batch_and_the_next_batch_runs():
    calls = 0

    @serve.batch(max_batch_size=2)
    async def flaky(xs: list[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise KeyError("first")
        return xs

    async def go() -> None:
        assert [type(e) for e in await outcomes(flaky(1), flaky(2))] == [KeyError, KeyError]
        assert await flaky(3) == 3

    run(go())


def test_a_result_that_is_an_exception_is_one_items_error():
    @serve.batch(max_batch_size=2)
    async def picky(xs: list[int]) -> list[Any]:
        return [ValueError(x) if x < 0 else x for x in xs]

    good, bad = run(outcomes(picky(1), picky(-1)))
    assert good == 1
    assert isinstance(bad, ValueError)


@pytest.mark.parametrize("wrong", [[1], 7, None])
def test_a_wrong_number_of_results_is_told(wrong: Any):
    @serve.batch(max_batch_size=2, batch_wait_timeout_s=0)
    async def short(xs: list[int]) -> Any:
        return wrong

    for error in run(outcomes(short(1), short(2))):
        if wrong != [1]:
            assert isinstance(error, TypeError)
            assert "must return a list with a result for each" in str(error)


def test_a_bad_batch_size_fn_fails_its_own_item_and_not_the_queue():
    def size(items: list[Any]) -> Any:
        if items[0] == "bad":
            raise RuntimeError("no size")
        return -1 if items[0] == "negative" else 1

    @serve.batch(max_batch_size=2, batch_size_fn=size)
    async def echo(xs: list[str]) -> list[str]:
        return xs

    async def go() -> None:
        bad, negative, good = await outcomes(echo("bad"), echo("negative"), echo("good"))
        assert (type(bad), type(negative), good) == (RuntimeError, ValueError, "good")

    run(go())


def test_who_goes_away_is_left_out_and_the_others_are_answered():
    seen: list[int] = []

    @serve.batch(max_batch_size=9, batch_wait_timeout_s=0.05)
    async def echo(xs: list[int]) -> list[int]:
        seen.extend(xs)
        return xs

    async def go() -> None:
        leaver = asyncio.create_task(echo(1))
        stayer = asyncio.create_task(echo(2))
        await asyncio.sleep(0)
        leaver.cancel()
        assert await stayer == 2
        assert seen == [2]

    run(go())


def test_streams_end_when_their_list_has_stop_iteration():
    @serve.batch(max_batch_size=2)
    async def count(ns: list[int]) -> Any:
        for step in range(max(ns)):
            yield [step if step < n else StopIteration for n in ns]

    async def collect(n: int) -> list[int]:
        return [item async for item in count(n)]

    assert run(outcomes(collect(1), collect(3))) == [[0], [0, 1, 2]]


def test_an_error_in_a_stream_reaches_those_that_have_not_ended():
    @serve.batch(max_batch_size=1)
    async def broken(ns: list[int]) -> Any:
        yield [1]
        raise KeyError("half-way")

    async def go() -> None:
        items = broken(0)
        assert await anext(items) == 1
        with pytest.raises(KeyError):
            await anext(items)

    run(go())


def test_limits_can_be_changed_while_items_wait():
    @serve.batch(max_batch_size=100, batch_wait_timeout_s=1000)
    async def echo(xs: list[int]) -> list[int]:
        return xs

    async def go() -> None:
        waiting = [asyncio.create_task(echo(i)) for i in range(2)]
        await asyncio.sleep(0)
        echo.set_max_batch_size(2)
        assert await outcomes(*waiting) == [0, 1]
        echo.set_batch_wait_timeout_s(0)
        assert await echo(7) == 7
        assert (echo._get_max_batch_size(), echo._get_batch_wait_timeout_s()) == (2, 0)

    run(go())


def test_a_batch_runs_with_the_model_of_its_requests():
    @serve.batch(max_batch_size=2, batch_wait_timeout_s=0.2)
    async def model(xs: list[int]) -> list[str]:
        return [f"{serve.get_multiplexed_model_id()}{len(xs)}"] * len(xs)

    async def ask(model_id: str) -> str:
        with serving(RequestContext(multiplexed_model_id=model_id)):
            return await model(1)

    assert run(outcomes(ask("a"), ask("b"), ask("a"))) == ["a2", "b1", "a2"]


def test_a_class_with_a_used_queue_can_be_sent_elsewhere():
    adder = Adder()
    run(adder.add(1, y=1))
    copy = pickle.loads(cloudpickle.dumps(adder))
    assert run(copy.add(2, y=1)) == 3


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_batch_size": 0}, ValueError),
        ({"max_batch_size": "2"}, TypeError),
        ({"batch_wait_timeout_s": -1}, ValueError),
        ({"batch_wait_timeout_s": "1"}, TypeError),
        ({"max_concurrent_batches": 0}, ValueError),
        ({"max_concurrent_batches": 1.5}, TypeError),
        ({"batch_size_fn": 3}, TypeError),
    ],
)
def test_bad_options_are_refused_by_name(options: dict[str, Any], error: type[Exception]):
    with pytest.raises(error, match=next(iter(options))):
        serve.batch(**options)


def test_only_async_functions_are_batched():
    with pytest.raises(TypeError, match="async def"):
        serve.batch(lambda xs: xs)
