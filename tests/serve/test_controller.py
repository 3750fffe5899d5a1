"""The controller with real replicas: updates, deaths, sickness, failures, no room."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from heliostat import serve
from heliostat.serve.exceptions import (
    DeployFailedError,
    DeploymentUnavailableError,
    RayServeException,
)
from heliostat.serve.schema import ApplicationStatus, ReplicaState


def test_an_update_under_load_fails_no_request(
    client: httpx.Client, port: int, scaler: serve.Deployment, until: Callable[..., None]
):
    serve.run(scaler.bind(1))
    seen: Counter[Any] = Counter()
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as mine:
            while not stop.is_set():
                answer = mine.post("/", json=[1])
                seen[answer.status_code, answer.text] += 1

    def call() -> None:
        handle = serve.get_app_handle("default")
        while not stop.is_set():
            seen[200, f'{{"predictions":[{handle.predict.remote([1]).result()[0]}]}}'] += 1

    threads = [threading.Thread(target=work) for work in (ask, ask, call)]
    for thread in threads:
        thread.start()
    for factor in (2, 3):
        serve.run(scaler.options(num_replicas=factor).bind(factor))
        expected = f'{{"predictions":[{factor}]}}'
        until(lambda expected=expected: seen[200, expected] > 20)  # type: ignore[misc]
    stop.set()
    for thread in threads:
        thread.join()
    assert {status for status, _ in seen} == {200}


def test_after_an_update_an_open_connection_reaches_the_new_ingress(client: httpx.Client):
    def make(name: str) -> serve.Application:
        async def answer(request: Request) -> str:
            return name

        return serve.deployment(name=name)(answer).bind()

    for name in ("one", "two", "three"):
        serve.run(make(name))
        assert client.get("/").text == name


def test_a_killed_replica_is_replaced(
    client: httpx.Client, scaler: serve.Deployment, until: Callable[..., None]
):
    handle = serve.run(scaler.options(num_replicas=2).bind(1))
    victim = handle.pid.remote().result()
    os.kill(victim, signal.SIGKILL)
    for _ in range(20):
        assert handle.predict.remote([1]).result(timeout_s=20).tolist() == [1]

    def healed() -> bool:
        overview = serve.status().applications["default"].deployments["Scaler"]
        return overview.replica_states == {ReplicaState.RUNNING: 2}

    until(healed)
    assert victim not in {handle.pid.remote().result() for _ in range(20)}


def test_a_replica_that_fails_its_health_checks_is_replaced(
    client: httpx.Client, until: Callable[..., None]
):
    @serve.deployment(health_check_period_s=0.01)
    class Ill:
        def check_health(self) -> None:
            if getattr(self, "is_ill", False):
                raise RuntimeError("ill")

        def fall_ill(self) -> int:
            self.is_ill = True
            return os.getpid()

        def pid(self) -> int:
            return os.getpid()

    handle = serve.run(Ill.bind(), route_prefix=None)
    ill = handle.fall_ill.remote().result()
    until(lambda: handle.pid.remote().result(timeout_s=20) != ill)


def test_a_constructor_that_raises_fails_the_deploy_with_its_traceback(
    client: httpx.Client, scaler: serve.Deployment
):
    @serve.deployment(max_constructor_retry_count=1)
    class Broken:
        def __init__(self) -> None:
            raise ValueError("no such model")

    with pytest.raises(DeployFailedError, match=r"(?s)'Broken' failed.*ValueError: no such model"):
        serve.run(Broken.bind())
    assert serve.status().applications["default"].status == ApplicationStatus.DEPLOY_FAILED
    assert client.get("/").status_code == 503
    with pytest.raises(DeploymentUnavailableError):
        serve.get_app_handle("default").remote().result(timeout_s=20)
    serve.run(scaler.bind(1))
    assert client.post("/", json=[1]).status_code == 200


def test_an_update_without_room_for_both_versions_ends_the_old_replicas_first(
    client: httpx.Client, scaler: serve.Deployment
):
    whole = scaler.options(num_replicas=2, ray_actor_options={"num_cpus": 2})
    handle = serve.run(whole.bind(1))
    old = {handle.pid.remote().result() for _ in range(20)}
    serve.run(whole.bind(2))
    assert client.post("/", json=[1]).json() == {"predictions": [2]}
    assert not old & {handle.pid.remote().result() for _ in range(20)}


def test_the_same_version_keeps_its_replicas_and_only_scales(
    client: httpx.Client, scaler: serve.Deployment
):
    handle = serve.run(scaler.options(version="1").bind(1))
    old = handle.pid.remote().result()
    serve.run(scaler.options(version="1", num_replicas=2).bind(1))
    pids = {handle.pid.remote().result() for _ in range(30)}
    assert old in pids
    assert len(pids) == 2


def test_deleting_a_composed_application_under_load_lets_what_has_begun_end(
    client: httpx.Client, port: int, scaler: serve.Deployment, until: Callable[..., None]
):
    @serve.deployment
    class Front:
        def __init__(self, inner: serve.DeploymentHandle) -> None:
            self.inner = inner

        async def __call__(self, request: Request) -> list[float]:
            return (await self.inner.predict.remote(await request.json())).tolist()  # type: ignore[no-any-return]

    serve.run(Front.bind(scaler.bind(2)))
    seen: Counter[int] = Counter()

    def ask() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as mine:
            while not seen[404]:
                seen[mine.post("/", json=[1]).status_code] += 1

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: seen[200] > 20)
    serve.delete("default")
    for thread in threads:
        thread.join()
    assert set(seen) == {200, 404}


def test_a_deployment_that_the_new_version_has_not_ends_when_that_is_up(
    client: httpx.Client, scaler: serve.Deployment, until: Callable[..., None]
):
    @serve.deployment
    class Front:
        def __init__(self, inner: serve.DeploymentHandle) -> None: ...

    serve.run(Front.bind(scaler.bind(2)))
    serve.run(scaler.options(name="Alone").bind(3))
    until(lambda: set(serve.status().applications["default"].deployments) == {"Alone"})
    assert client.post("/", json=[1]).json() == {"predictions": [3]}


QUICK = {
    "metrics_interval_s": 0.05,
    "look_back_period_s": 0.1,
    "upscale_delay_s": 0,
    "downscale_delay_s": 0.3,
}


def running() -> int:
    overview = serve.status().applications["default"].deployments["Slow"]
    return overview.replica_states.get(ReplicaState.RUNNING, 0)


def slow(**options: Any) -> serve.Deployment:
    @serve.deployment(
        max_ongoing_requests=2,
        ray_actor_options={"num_cpus": 0},
        autoscaling_config={**QUICK, "target_ongoing_requests": 1, **options},
    )
    class Slow:
        async def __call__(self, request: Any = None) -> int:
            await asyncio.sleep(0.2)
            return os.getpid()

    return Slow


def test_a_burst_wakes_a_sleeping_deployment_and_no_request_is_lost(
    client: httpx.Client, port: int, until: Callable[..., None]
):
    handle = serve.run(slow(min_replicas=0, max_replicas=2).bind())
    assert running() == 0
    assert handle.remote().result(timeout_s=20)
    until(lambda: running() == 0)

    async def burst() -> list[int]:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as mine:
            answers = await asyncio.gather(*(mine.get("/") for _ in range(20)))
        return [answer.status_code for answer in answers]

    assert asyncio.run(burst()) == [200] * 20
    until(lambda: running() == 0)
    assert len({response.result() for response in [handle.remote() for _ in range(12)]}) == 2
    until(lambda: running() == 0)


def test_replicas_follow_the_load_up_and_down(
    client: httpx.Client, port: int, until: Callable[..., None]
):
    handle = serve.run(slow(min_replicas=1, max_replicas=3).bind())
    assert running() == 1
    stop = threading.Event()
    failures: list[Exception] = []

    def ask() -> None:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as mine:
                while not stop.is_set():
                    assert mine.get("/").status_code == 200
                    handle.remote().result()
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: running() == 3)
    stop.set()
    for thread in threads:
        thread.join()
    until(lambda: running() == 1)
    assert failures == []


def test_other_options_of_the_same_version_go_to_the_living_replicas(client: httpx.Client):
    @serve.deployment(version="1", user_config={"word": "a"}, max_ongoing_requests=1)
    class Word:
        def reconfigure(self, config: dict[str, str]) -> None:
            if config["word"] == "bad":
                raise ValueError("not this one")
            self.word = config["word"]

        def both(self) -> tuple[str, int]:
            return self.word, os.getpid()

    handle = serve.run(Word.bind())
    word, pid = handle.both.remote().result()
    assert word == "a"
    serve.run(Word.options(user_config={"word": "b"}, max_ongoing_requests=5).bind())
    assert handle.both.remote().result() == ("b", pid)


def test_handle_calls_wait_for_a_free_replica_and_not_for_a_busy_one(
    client: httpx.Client, until: Callable[..., None]
):
    @serve.deployment(num_replicas=1, max_ongoing_requests=1, ray_actor_options={"num_cpus": 0})
    class One:
        def __init__(self) -> None:
            self.open = asyncio.Event()

        async def block(self) -> int:
            await asyncio.Event().wait()
            return 0

        async def quick(self) -> int:
            return os.getpid()

    handle = serve.run(One.options(version="1").bind())
    blocked = handle.block.remote()
    waiting = [handle.quick.remote() for _ in range(5)]
    serve.run(One.options(version="1", num_replicas=2).bind())
    assert len({response.result(timeout_s=20) for response in waiting}) == 1
    blocked.cancel()


def test_who_deploys_while_another_shuts_down_gets_serve_anew(
    client: httpx.Client, port: int, tmp_path: Path, until: Callable[..., None]
):
    begun, released = tmp_path / "begun", tmp_path / "released"

    @serve.deployment
    class Slow:
        def work(self) -> str:
            begun.touch()
            while not released.exists():
                time.sleep(0.01)
            return "done"

    @serve.deployment
    def echo(request: Request) -> str:
        return "echo"

    def deploy() -> None:
        serve.start(http_options={"port": port})
        serve.run(echo.bind(), name="later")

    work = serve.run(Slow.bind()).work.remote()
    until(begun.exists)
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(serve.shutdown)
        until(lambda: serve.status().applications["default"].status == ApplicationStatus.DELETING)
        deployed = pool.submit(deploy)
        time.sleep(0.3)
        assert not deployed.done()  # it is not given to those who go
        released.touch()
        ended.result(timeout=30)
        deployed.result(timeout=30)
    assert work.result() == "done"
    assert list(serve.status().applications) == ["later"]
    assert client.get("/").text == "echo"


def test_what_is_not_up_when_another_shuts_down_is_an_error_with_a_name(
    client: httpx.Client, port: int, until: Callable[..., None]
):
    @serve.deployment
    class Never:
        def __init__(self) -> None:
            time.sleep(1000)

    with ThreadPoolExecutor() as pool:
        deployed = pool.submit(serve.run, Never.bind())
        until(lambda: "default" in serve.status().applications)
        serve.shutdown()
        with pytest.raises(RayServeException, match=r"was deleted before it was up|Serve ended"):
            deployed.result(timeout=30)
    serve.start(http_options={"port": port})
