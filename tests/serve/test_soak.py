"""A minute of load while replicas are killed and stopped, and the application updated and scaled;
ten thousand connections that say nothing. Real clients on real sockets."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat import serve
from heliostat.util.state import list_actors
from tests.serve.conftest import free_port

CLIENTS = 8
BROKEN = "broken"  # the connection ended before an answer began: its replica was killed

pytestmark = pytest.mark.soak


@pytest.fixture
def port() -> Iterator[int]:
    ray.init(num_cpus=4)
    free = free_port()
    serve.start(http_options={"port": free})
    yield free
    serve.shutdown()
    ray.shutdown()


@serve.deployment(
    ray_actor_options={"num_cpus": 0.1},
    health_check_period_s=0.5,
    health_check_timeout_s=0.5,
    max_ongoing_requests=50,
)
class Noted:
    """Writes down each request that it has run, with one write for each."""

    def __init__(self, version: int, folder: str) -> None:
        self.version = version
        name = f"{os.getpid()}-{version}.log"
        self.log = os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def __call__(self, request: Any) -> str:
        os.write(self.log, await request.body() + b"\n")
        return f"{self.version} {os.getpid()}"


class Load:
    """Clients that ask again and again, each on one connection, and what they were told."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.outcomes: dict[str, str] = {}  # by request
        self.pids: collections.Counter[int] = collections.Counter()
        self.versions: set[int] = set()
        self.pause_s = 0.0
        self.is_over = False

    async def client(self, number: int) -> None:
        reader = writer = None
        count = 0
        due = time.monotonic()
        while not self.is_over:
            count += 1
            name = f"{number}-{count}-{len(self.outcomes)}"
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            assert reader is not None
            self.outcomes[name] = "lost"
            try:
                async with asyncio.timeout(30):
                    self.outcomes[name] = status = await self.ask(reader, writer, name)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.outcomes[name] = status = BROKEN
            if status != "200":
                writer.close()
                reader = writer = None
            due = max(due + self.pause_s, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        if writer is not None:
            writer.close()

    async def ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str
    ) -> str:
        head = f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {len(name)}\r\n\r\n"
        writer.write(head.encode() + name.encode())
        await writer.drain()
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(answer.split("content-length: ")[1].split("\r\n")[0])
        body = (await reader.readexactly(length)).decode()
        status = answer.split()[1]
        if status == "200":
            version, pid = map(int, body.split())
            self.versions.add(version)
            self.pids[pid] += 1
        if "connection: close" in answer:
            writer.close()
            raise ConnectionResetError
        return status

    def run(self, meanwhile: Callable[[], Any] | None, seconds: float = 0.0) -> None:
        """Until `meanwhile` returns, in a thread beside the clients, or so long."""

        async def together() -> None:
            self.is_over = False
            clients = [asyncio.create_task(self.client(n)) for n in range(CLIENTS)]
            if meanwhile is None:
                await asyncio.sleep(seconds)
            else:
                await asyncio.to_thread(meanwhile)
            self.is_over = True
            await asyncio.gather(*clients)

        asyncio.run(together())


def times_run(folder: Path) -> collections.Counter[str]:
    return collections.Counter(line for f in folder.glob("*.log") for line in f.read_text().split())


def private_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if "Private" in line) / 1024


def deploy(folder: Path, version: int, replicas: int) -> None:
    serve.run(Noted.options(num_replicas=replicas).bind(version, str(folder)), name="noted")


def load_at_80_percent(port: int, folder: Path) -> Load:
    """Of what one replica can do, whose version is 0."""
    deploy(folder, 0, 1)
    load = Load(port)
    load.run(None, 3.0)
    load.pause_s = CLIENTS * 3.0 / len(load.outcomes) / 0.8
    return load


def change(folder: Path, seconds: float) -> None:
    """Five updates, and from one replica to four and back, twice."""
    until = time.monotonic() + seconds
    for version, replicas in enumerate((1, 4, 4, 2, 1), 1):
        deploy(folder, version, replicas)
        _pass_time(until - (5 - version) * seconds / 6)
    deploy(folder, 5, 4)
    deploy(folder, 5, 1)


@pytest.mark.timeout(300)
def test_updates_and_scaling_under_load_lose_and_double_nothing(port, tmp_path):
    load = load_at_80_percent(port, tmp_path)
    load.run(lambda: change(tmp_path, 30))
    assert collections.Counter(load.outcomes.values()).keys() == {"200"}
    assert load.versions == set(range(6))
    ran = times_run(tmp_path)
    assert ran.keys() == load.outcomes.keys()
    assert set(ran.values()) == {1}


@pytest.mark.timeout(300)
def test_kills_beside_updates_and_scaling_cost_only_the_requests_that_they_hit(port, tmp_path):
    load = load_at_80_percent(port, tmp_path)
    controller = next(a["pid"] for a in _actors() if a["class_name"] == "Controller")
    before = private_mb(controller)
    hits: list[int] = []

    def change_and_kill() -> None:
        is_over = threading.Event()
        killing = threading.Thread(target=kill_some, args=(hits, is_over))
        killing.start()
        try:
            change(tmp_path, 60)
        finally:
            is_over.set()
            killing.join()

    load.run(change_and_kill)
    told = collections.Counter(load.outcomes.values())
    assert told.keys() <= {"200", "503", BROKEN}, told
    assert told[BROKEN] + told["503"] <= len(hits) * CLIENTS, told
    assert len(hits) >= 12
    assert load.versions == set(range(6))
    ran = times_run(tmp_path)
    assert all(ran[name] == 1 for name, status in load.outcomes.items() if status == "200")
    assert max(ran.values()) == 1
    load.run(None, 3.0)
    assert list(load.outcomes.values())[-1] == "200"
    assert private_mb(controller) < before + 20


@pytest.mark.timeout(300)
def test_kills_and_updates_make_neither_the_program_nor_the_controller_bigger(port, tmp_path):
    """Without clients in this process, who keep what they are told."""
    deploy(tmp_path, 0, 2)
    pids = [os.getpid(), *(a["pid"] for a in _actors() if a["class_name"] == "Controller")]

    def round_of(number: int) -> list[float]:
        for version in range(1, 6):
            pid = next((a["pid"] for a in _actors() if "Replica" in a["class_name"]), None)
            with contextlib.suppress(ProcessLookupError):
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
            deploy(tmp_path, number * 5 + version, 1 + version % 2 * 3)
        gc.collect()
        return [private_mb(pid) for pid in pids]

    before = round_of(0)
    after = [round_of(number) for number in range(1, 8)][-1]
    assert all(now < then + 5 for now, then in zip(after, before, strict=True)), (before, after)


def kill_some(hits: list[int], is_over: threading.Event) -> None:
    """A replica every three seconds, of three one is stopped instead."""
    rng = random.Random(0)
    while not is_over.wait(3):
        pids = [each["pid"] for each in _actors() if "Replica" in each["class_name"]]
        if not pids:
            continue  # the last was hit just now
        pid = rng.choice(pids)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL if len(hits) % 3 else signal.SIGSTOP)
            hits.append(pid)


def _pass_time(until: float) -> None:
    while time.monotonic() < until:
        serve.status()  # somebody always looks


def _actors() -> list[dict[str, Any]]:
    alive = list_actors(filters=[("state", "=", "ALIVE")], detail=True)
    return [{"class_name": each.class_name, "pid": each.pid} for each in alive if each.pid]


@pytest.mark.timeout(300)
def test_ten_thousand_idle_connections_slow_nobody_down(port):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = min(10_000, hard - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    @serve.deployment(ray_actor_options={"num_cpus": 0.1})
    async def hello() -> str:
        return "hello"

    serve.run(hello.bind(), name="hello")

    async def hold(ask: Callable[[], Awaitable[None]]) -> None:
        idle = []
        for start in range(0, number, 500):
            opened = (asyncio.open_connection("127.0.0.1", port) for _ in range(500))
            idle += await asyncio.gather(*opened)
            await ask()
            assert len(idle) == start + 500
        for reader, writer in idle[::100]:  # each of them is still good for a request
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await reader.readline()).split()[1] == b"200"
        for _, writer in idle:
            writer.close()

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(5):
            assert (await reader.read()).endswith(b"hello")
        writer.close()

    try:
        asyncio.run(hold(ask))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
