"""The suite's tests of references outside of `get`: await, futures, threads."""

# mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat.testing._session import Gate, SharedSession


class AsynchronyTests(SharedSession):
    """`await ref` and `ref.future()`."""

    def test_a_reference_can_be_awaited(self) -> None:
        @ray.remote
        def square(x: int) -> int:
            return x * x

        async def main() -> list[int]:
            first = await square.remote(3)
            return [first, *await asyncio.gather(*(square.remote(n) for n in range(50)))]

        assert asyncio.run(main()) == [9, *(n * n for n in range(50))]

    def test_awaiting_a_failed_task_raises_its_error(self) -> None:
        @ray.remote
        def bad() -> None:
            raise KeyError("awaited")

        async def main() -> None:
            await bad.remote()

        with pytest.raises(KeyError, match="awaited"):
            asyncio.run(main())

    def test_awaiting_does_not_stop_the_loop(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote
        def closed() -> str:
            gate.wait()
            return "through"

        async def main() -> str:
            waiting = asyncio.ensure_future(_value(closed.remote()))
            await asyncio.sleep(0)
            assert not waiting.done()
            gate.open()
            return await asyncio.wait_for(waiting, 20)

        assert asyncio.run(main()) == "through"

    def test_an_await_may_time_out_and_the_reference_stays_good(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote
        def closed() -> str:
            gate.wait()
            return "through"

        async def main() -> str:
            ref = closed.remote()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(_value(ref), 0.01)
            gate.open()
            return await _value(ref)

        assert asyncio.run(main()) == "through"

    def test_a_call_of_an_asyncio_actor_does_not_see_the_context_of_the_one_before(self) -> None:
        class Asynchronous:
            def __init__(self) -> None:
                self.said = contextvars.ContextVar[str]("said", default="nothing")

            async def say(self, word: str) -> str:
                before = self.said.get()
                self.said.set(word)
                return before

        actor: Any = ray.remote(Asynchronous).remote()
        one_by_one = [ray.get(actor.say.remote(str(n))) for n in range(50)]
        at_once = ray.get([actor.say.remote(str(n)) for n in range(50)])
        assert set(one_by_one) | set(at_once) == {"nothing"}

    def test_a_future_completes_with_the_value_or_the_error(self) -> None:
        @ray.remote
        def divide(a: int, b: int) -> float:
            return a / b

        good, bad = divide.remote(6, 3).future(), divide.remote(1, 0).future()
        assert isinstance(good, concurrent.futures.Future)
        done, rest = concurrent.futures.wait([good, bad], timeout=20)
        assert (len(done), len(rest)) == (2, 0)
        assert good.result() == 2.0
        with pytest.raises(ZeroDivisionError):
            bad.result()


async def _value(ref: ray.ObjectRef[str]) -> str:
    return await ref
