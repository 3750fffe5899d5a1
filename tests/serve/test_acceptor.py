"""Acceptor and Connections: real sockets, a replica played by a second set of Connections."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

import httpx
import pytest
import uvloop
from starlette.responses import PlainTextResponse

from heliostat.serve._acceptor import Acceptor, listen, path_of
from heliostat.serve._connections import Connections, Intake
from heliostat.serve._proxy import Route
from heliostat.serve.exceptions import PortTakenError

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as _runner:
    _runner.run(asyncio.sleep(0))  # uvloop's first loop makes a pipe that stays with the process


def says(text: str) -> Callable[..., Awaitable[None]]:
    async def app(scope, receive, send):
        await PlainTextResponse(f"{text} {scope['path']}")(scope, receive, send)

    return app


class Rig:
    """An acceptor that answers "own", and replicas that answer their names."""

    def __init__(self) -> None:
        listener = listen("127.0.0.1", 0)
        self.acceptor = Acceptor(listener, Connections(says("own"), 5), 5)
        self.url = f"http://127.0.0.1:{self.acceptor.address[1]}"
        self.intakes: dict[str, Intake] = {}
        self.connections: dict[str, Connections] = {}

    def replica(self, name: str) -> None:
        self.connections[name] = Connections(says(name), 5)
        self.intakes[name] = Intake(self.connections[name])
        self.publish()

    def publish(self, *without: str) -> None:
        addresses = {n: i.address for n, i in self.intakes.items() if n not in without}
        self.acceptor.update([Route("/a", "a", "A")], {"a": addresses})

    def close(self) -> None:
        self.acceptor.close()
        for intake in self.intakes.values():
            intake.close()
        for connections in self.connections.values():
            connections.close()


async def until(condition: Callable[[], bool]) -> None:
    """Poll; `run` has the deadline."""
    while not condition():  # noqa: ASYNC110 - the code under test offers no event for this
        await asyncio.sleep(0.001)


def run(test: Callable[[Rig, httpx.AsyncClient], Awaitable[None]]) -> None:
    async def go() -> None:
        rig = Rig()
        async with httpx.AsyncClient(base_url=rig.url) as client:
            await test(rig, client)
        rig.close()
        await asyncio.sleep(0)  # transports close their sockets in the next round
        await asyncio.sleep(0)

    for new_loop in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(asyncio.wait_for(go(), 20))


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b"GET /a HTTP/1.1\r\nHost: x", "/a"),
        (b"GET /a?b=/c HTTP/1.1", "/a"),
        (b"GET /%61%2e HTTP/1.1", "/a."),
        (b"GET http://x/a HTTP/1.1", None),
        (b"GET /a", None),
        (b"\x16\x03\x01", None),
        (b"", None),
    ],
)
def test_the_path_is_read_from_a_whole_first_line_only(line: bytes, path: str | None):
    assert path_of(line) == path


def test_a_connection_goes_to_the_replica_of_its_path_and_stays_there():
    async def test(rig: Rig, client: httpx.AsyncClient) -> None:
        rig.replica("r1")
        assert (await client.get("/a/x")).text == "r1 /a/x"
        assert (await client.get("/a/y")).text == "r1 /a/y"
        assert rig.acceptor._doors["r1"].open_count == 1

    run(test)


def test_what_no_replica_takes_is_answered_at_the_port_and_looked_at_anew_after_each_answer():
    async def test(rig: Rig, client: httpx.AsyncClient) -> None:
        assert (await client.get("/a")).text == "own /a"
        rig.replica("r1")
        assert (await client.get("/b")).text == "own /b"
        assert (await client.get("/a")).text == "r1 /a"

    run(test)


def test_serves_own_pages_are_answered_at_the_port_though_an_application_has_all_paths():
    async def test(rig: Rig, client: httpx.AsyncClient) -> None:
        rig.replica("r1")
        addresses = {name: intake.address for name, intake in rig.intakes.items()}
        rig.acceptor.update([Route("/", "a", "A")], {"a": addresses})
        assert (await client.get("/-/healthz")).text == "own /-/healthz"
        assert (await client.get("/x")).text == "r1 /x"

    run(test)


def test_connections_are_spread_by_how_many_are_open():
    async def test(rig: Rig, client: httpx.AsyncClient) -> None:
        rig.replica("r1")
        rig.replica("r2")
        clients = [httpx.AsyncClient(base_url=rig.url) for _ in range(6)]
        texts = [(await each.get("/a")).text for each in clients]
        assert sorted(texts) == ["r1 /a"] * 3 + ["r2 /a"] * 3
        for each in clients:
            await each.aclose()
        await until(lambda: not any(d.open_count for d in rig.acceptor._doors.values()))

    run(test)


def test_connections_that_come_one_after_the_other_take_turns():
    async def test(rig: Rig, client: httpx.AsyncClient) -> None:
        for name in ("r1", "r2", "r3"):
            rig.replica(name)
        texts = []
        for _ in range(6):
            async with httpx.AsyncClient(base_url=rig.url) as one:
                texts.append((await one.get("/a")).text)
            await until(lambda: not any(d.open_count for d in rig.acceptor._doors.values()))
        assert sorted(texts) == ["r1 /a"] * 2 + ["r2 /a"] * 2 + ["r3 /a"] * 2

    run(test)


def test_a_draining_replica_hands_idle_connections_over_without_the_client_noticing():
    async def test(rig: Rig, client: httpx.AsyncClient) -> None:
        rig.replica("r1")
        rig.replica("r2")
        first = (await client.get("/a")).text[:2]
        other = {"r1": "r2", "r2": "r1"}[first]
        rig.publish(first)
        rig.intakes[first].drain()
        await asyncio.wait_for(rig.connections[first].drained.wait(), 5)
        assert (await client.get("/a")).text == f"{other} /a"

    run(test)


def test_a_connection_that_a_dead_replica_had_not_taken_goes_to_another():
    async def test(rig: Rig, client: httpx.AsyncClient) -> None:
        dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        dead.bind(f"\0heliostat-test-{os.getpid()}")
        dead.listen()
        address = dead.getsockname().decode()
        rig.acceptor.update([Route("/a", "a", "A")], {"a": {"dead": address}})
        channel, _ = dead.accept()
        asking = asyncio.create_task(client.get("/a"))
        await until(lambda: bool(rig.acceptor._doors["dead"].not_taken))
        channel.close()
        dead.close()
        assert (await asking).text == "own /a"

    run(test)


def test_a_connection_answered_before_its_body_has_come_is_not_given_away_in_the_middle():
    async def test(rig: Rig, client: httpx.AsyncClient) -> None:
        rig.replica("r1")
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.acceptor.address[1])
        writer.write(b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n")
        assert (await reader.readuntil(b"own /b")).startswith(b"HTTP/1.1 200")
        writer.write(b"xy")
        await asyncio.sleep(0.01)
        writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"r1 /a")
        writer.close()
        await writer.wait_closed()

    run(test)


def test_a_slow_first_line_is_left_to_the_port_itself():
    async def test(rig: Rig, client: httpx.AsyncClient) -> None:
        rig.replica("r1")
        port = rig.acceptor.address[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in (b"GET /a", b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert (await reader.read()).endswith(b"own /a")
        writer.close()
        await writer.wait_closed()

    run(test)


def test_a_taken_port_names_its_holder():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} .* process {os.getpid()} .*python"):
            listen("127.0.0.1", port)
