"""Streams of the inline engine that wait for their taker."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

import heliostat as ray
from heliostat.exceptions import RayTaskError, TaskCancelledError

WINDOW = {"_generator_backpressure_num_objects": 1}


@pytest.fixture(autouse=True)
def _session() -> Iterator[None]:
    ray.init(engine="inline", num_cpus=2)
    yield
    ray.shutdown()


@ray.remote(**WINDOW)
def naturals() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def test_a_stream_without_an_end_is_run_as_far_as_its_items_are_taken() -> None:
    stream = naturals.remote()
    assert [ray.get(next(stream)) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert ray.wait([stream.completed()], timeout=0) == ([], [stream.completed()])


def test_whoever_waits_for_the_end_lets_it_run_to_its_end() -> None:
    @ray.remote(**WINDOW)
    async def three() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    stream = three.remote()
    assert ray.get(stream.completed()) is None
    assert [ray.get(ref) for ref in stream] == [0, 1, 2]


def test_its_code_sees_its_own_task_and_environment_each_time() -> None:
    @ray.remote(runtime_env={"env_vars": {"PLACE": "inside"}}, **WINDOW)
    def places() -> Iterator[tuple[str | None, str | None]]:
        for _ in range(3):
            yield ray.get_runtime_context().get_task_name(), os.environ.get("PLACE")

    seen = [ray.get(ref) for ref in places.remote()]
    assert [place for _, place in seen] == ["inside"] * 3
    assert all("places" in str(name) for name, _ in seen)
    assert "PLACE" not in os.environ


def test_a_stream_that_fails_later_on_gives_its_error_as_its_last_item() -> None:
    @ray.remote(**WINDOW)
    def breaks() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("no third")

    stream = breaks.remote()
    assert [ray.get(next(stream)) for _ in range(2)] == [1, 2]
    with pytest.raises(RayTaskError, match="no third"):
        ray.get(next(stream))
    assert list(stream) == []


def test_cancelling_and_shutting_down_close_the_generator() -> None:
    closed = []

    @ray.remote(**WINDOW)
    def closes(name: str) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(name)

    first, _second = closes.remote("first"), closes.remote("second")
    ray.cancel(first)
    assert closed == ["first"]
    next(first)
    with pytest.raises(TaskCancelledError):
        ray.get(next(first))
    ray.cancel(first)
    ray.shutdown()
    assert closed == ["first", "second"]
