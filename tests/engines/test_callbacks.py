"""What is called back when a value is there may ask the hub, and wait for the answer."""

# mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload"

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Iterator
from typing import Any

import pytest

import heliostat as ray

BIG = 1 << 20


@pytest.fixture(autouse=True)
def _session() -> Iterator[None]:
    with ray.init(num_cpus=2):
        yield


@ray.remote(num_cpus=0)
class Sizes:
    """Takes what is too big to travel with a call."""

    def wait(self, seconds: float) -> None:
        """A while."""
        time.sleep(seconds)

    def size(self, value: bytes) -> int:
        """How long a value is."""
        return len(value)


def called_back(sizes: Any) -> concurrent.futures.Future[Any]:
    """A value that is sent as soon as another is there."""
    sent: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def send(_: object) -> None:
        sent.set_result([sizes.size.remote(bytes(BIG)), ray.put(bytes(BIG))])

    sizes.wait.remote(0.1).future().add_done_callback(send)
    return sent


@ray.remote(num_cpus=0)
def in_a_task(sizes: Any) -> int:
    answer, put = called_back(sizes).result(timeout=20)
    return ray.get(answer) + len(ray.get(put))


@ray.remote(num_cpus=0)
def in_a_task_that_reads(sizes: Any) -> int:
    sent = called_back(sizes)
    ray.get(sizes.wait.remote(0.3))
    answer, put = sent.result(timeout=20)
    return ray.get(answer) + len(ray.get(put))


@ray.remote(num_cpus=0)
class InALoop:
    """An actor whose event loop reads."""

    async def go(self, sizes: Any) -> int:
        """Wait for what is sent."""
        answer, put = await asyncio.wrap_future(called_back(sizes))
        return await answer + len(await put)


@pytest.mark.parametrize("where", ["task", "reader", "loop"])
def test_a_callback_of_a_value_may_send_what_needs_room_in_shared_memory(where: str) -> None:
    sizes = Sizes.remote()
    go = {
        "task": in_a_task.remote,
        "reader": in_a_task_that_reads.remote,
        "loop": InALoop.remote().go.remote,
    }[where]
    assert ray.get(go(sizes), timeout=30) == 2 * BIG
