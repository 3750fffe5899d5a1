"""One session with Serve for each module that asks for it."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.requests import Request

import heliostat as ray
from heliostat import serve
from heliostat.serve import _logs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    ray.init(num_cpus=4)
    free = free_port()
    serve.start(http_options={"port": free})
    yield free
    serve.shutdown()
    assert not is_open(free)
    ray.shutdown()


@pytest.fixture
def client(port: int) -> Iterator[httpx.Client]:
    """A client of the session's Serve; the applications of a test end with it."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as one:
        yield one
    for name in serve.status().applications:
        serve.delete(name)


@pytest.fixture
def lesson_url(client: httpx.Client, port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the FastAPI lesson answers, with its page at /docs: it runs but for its load and its end."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    monkeypatch.setenv("PORT", str(port))
    path = Path(__file__).parents[2] / "examples" / "lessons" / "lesson5_serve.py"
    sections = path.read_text().rpartition("# %%\n")[0].split("# %% [markdown]\n")
    lesson = "".join(each for each in sections if not each.startswith("# ## As many as are needed"))
    made: dict[str, Any] = {"__name__": "lesson5_in_tests"}
    exec(compile(lesson, path, "exec"), made)
    yield f"http://127.0.0.1:{port}"
    made["CLIENT"].close()


@pytest.fixture
def loggers_as_before() -> Iterator[None]:
    """For replicas in this process: theirs write otherwise afterwards."""
    loggers = [logging.getLogger(name) for name in (*_logs.LOGGERS, _logs._access.name)]
    before = [(each.handlers[:], each.level, each.propagate, each.disabled) for each in loggers]
    yield
    for each, (handlers, level, propagate, disabled) in zip(loggers, before, strict=True):
        each.handlers[:], each.propagate, each.disabled = handlers, propagate, disabled
        each.setLevel(level)


@pytest.fixture
def until() -> Callable[..., None]:
    """Poll until a condition is true, with a deadline."""

    def wait(condition: Callable[[], bool], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.01)

    return wait


@pytest.fixture
def scaler() -> serve.Deployment:
    """A deployment that multiplies, and knows its process."""

    @serve.deployment
    class Scaler:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        async def __call__(self, request: Request) -> dict[str, Any]:
            return {"predictions": self.predict(await request.json())}

        def predict(self, data: list[float]) -> Any:
            return np.array(data) * self.factor

        def pid(self) -> int:
            return os.getpid()

    return Scaler
