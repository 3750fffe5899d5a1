"""@serve.multiplexed: what is kept, what goes, what is loaded once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from heliostat import serve
from heliostat.serve.multiplex import is_multiplexed, models_of, watch_models


class Zoo:
    def __init__(self) -> None:
        self.loads: list[str] = []

    @serve.multiplexed(max_num_models_per_replica=2)
    async def model(self, model_id: str) -> str:
        self.loads.append(model_id)
        if model_id == "broken":
            raise KeyError(model_id)
        await asyncio.sleep(0)
        return model_id.upper()


def test_the_least_recently_used_model_goes():
    async def go() -> None:
        zoo = Zoo()
        for model_id in ("a", "b", "a", "c"):
            assert await zoo.model(model_id) == model_id.upper()
        assert models_of(zoo) == ("a", "c")
        assert zoo.loads == ["a", "b", "c"]

    asyncio.run(go())


def test_a_model_is_loaded_once_however_many_ask_and_one_who_goes_away_stops_nobody():
    async def go() -> None:
        zoo = Zoo()
        tasks = [asyncio.create_task(zoo.model("a")) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        assert await asyncio.gather(*tasks[1:]) == ["A", "A"]
        assert zoo.loads == ["a"]

    asyncio.run(go())


def test_a_model_that_cannot_be_loaded_is_tried_again_the_next_time():
    async def go() -> None:
        zoo = Zoo()
        for _ in range(2):
            with pytest.raises(KeyError):
                await zoo.model("broken")
        assert zoo.loads == ["broken"] * 2
        assert models_of(zoo) == ()

    asyncio.run(go())


def test_a_function_keeps_models_too_and_tells_when_they_change():
    told = []

    @serve.multiplexed(max_num_models_per_replica=-1)
    async def load(model_id: str) -> object:
        return object()

    async def go() -> None:
        assert await load("a") is await load("a")

    watch_models(lambda: told.append(1))
    asyncio.run(go())
    watch_models(None)
    assert told == [1, 1]


def test_a_class_that_loads_models_is_known_by_that():
    assert is_multiplexed(Zoo())
    assert not is_multiplexed(object())


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [(("",), ValueError, "names no model"), ((3,), TypeError, "string"), ((), TypeError, "model")],
)
def test_a_model_without_a_name_is_refused(args: Any, error: Any, words: str):
    with pytest.raises(error, match=words):
        asyncio.run(Zoo().model(*args))


def test_bad_loaders_and_numbers_are_refused():
    with pytest.raises(TypeError, match="async def"):
        serve.multiplexed(lambda model_id: model_id)
    with pytest.raises(ValueError, match="got 0"):
        serve.multiplexed(max_num_models_per_replica=0)
    with pytest.raises(TypeError, match="must be an int"):
        serve.multiplexed(max_num_models_per_replica="3")  # type: ignore[arg-type]

    async def three(a: int, b: int, c: int) -> None: ...

    with pytest.raises(TypeError, match="takes 3 arguments"):
        serve.multiplexed(three)
