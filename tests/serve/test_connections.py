"""Connections and Intake: HTTP on sockets that are given."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
from starlette.responses import PlainTextResponse

from heliostat.serve._connections import BACK, CLOSED, TAKEN, Connections, Intake, messages

GET = b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n"


async def app(scope, receive, send):
    await PlainTextResponse("answer")(scope, receive, send)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a TCP connection: the server's, the client's."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    client.setblocking(False)
    with server, client:
        yield server, client


def run(work: Awaitable[None]) -> None:
    async def go() -> None:
        await asyncio.wait_for(work, 20)
        await asyncio.sleep(0)  # transports close their sockets in the next round
        await asyncio.sleep(0)

    asyncio.run(go())


async def ask(client: socket.socket) -> bytes:
    loop, answer = asyncio.get_running_loop(), b""
    await loop.sock_sendall(client, GET)
    while not answer.endswith(b"answer"):
        piece = await loop.sock_recv(client, 4096)
        assert piece, "the server closed the connection"
        answer += piece
    return answer


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the code under test offers no event for this
        await asyncio.sleep(0.001)


def test_a_given_socket_speaks_http_until_the_client_leaves(pair):
    server, client = pair

    async def work() -> None:
        connections, lost = Connections(app, 5), asyncio.Event()
        await connections.adopt(server, lost.set)
        answer = await ask(client)
        assert re.search(rb"date: \w{3}, \d\d \w{3} \d{4} .* GMT\r\n", answer)
        assert (await ask(client)).startswith(b"HTTP/1.1 200 OK")
        client.close()
        await lost.wait()

    run(work())


def test_an_idle_connection_is_closed_after_its_time(pair):
    server, client = pair

    async def work() -> None:
        lost = asyncio.Event()
        await Connections(app, 0.01).adopt(server, lost.set)
        await ask(client)
        await lost.wait()
        assert await asyncio.get_running_loop().sock_recv(client, 1) == b""

    run(work())


def test_one_that_never_sends_the_rest_of_what_was_answered_is_closed_too(pair):
    server, client = pair

    async def work() -> None:
        lost = asyncio.Event()
        await Connections(app, 0.05).adopt(server, lost.set)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n")
        await lost.wait()

    run(work())


def test_a_connection_in_use_outlives_its_idle_time(pair):
    server, client = pair

    async def work() -> None:
        lost = asyncio.Event()
        await Connections(app, 0.2).adopt(server, lost.set)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() < began + 0.5:
            await ask(client)
        assert not lost.is_set()
        await lost.wait()

    run(work())


def test_draining_gives_connections_away_and_closes_those_that_nobody_takes(pair):
    server, client = pair

    async def work() -> None:
        connections, given = Connections(app, 5), []
        await connections.adopt(server, lambda: None)
        await ask(client)
        connections.drain(lambda descriptor: given.append(os.dup(descriptor)) is None)
        await connections.drained.wait()
        # The connection lives on in the descriptor that was given away.
        taken = socket.socket(fileno=given.pop())
        taken.setblocking(False)
        other = Connections(app, 5)
        await other.adopt(taken, lambda: None)
        await ask(client)
        other.drain(lambda descriptor: False)
        await other.drained.wait()
        assert await asyncio.get_running_loop().sock_recv(client, 1) == b""

    run(work())


def test_an_intake_takes_sockets_reports_them_and_hands_them_back(pair):
    server, client = pair

    async def work() -> None:
        connections = Connections(app, 5)
        intake = Intake(connections)
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        channel.connect(intake.address)
        socket.send_fds(channel, [b"c"], [server.fileno()])
        server.close()
        await ask(client)
        assert channel.recv(1) == TAKEN
        intake.drain()
        await connections.drained.wait()
        word, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        assert word == BACK
        assert channel.recv(1) == CLOSED
        back = socket.socket(fileno=descriptors[0])
        assert back.getpeername() == client.getsockname()
        back.close()
        channel.close()
        intake.close()

    run(work())


def test_an_intake_takes_all_connections_that_wait_at_once(pair):
    """One at a time would let each wait for the answers on those before it."""
    server, _ = pair

    async def work() -> None:
        connections = Connections(app, 5)
        intake = Intake(connections)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.connect(intake.address)
            await asyncio.sleep(0)
            for _ in range(60):
                socket.send_fds(channel, [b"c"], [server.fileno()])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            channel.setblocking(False)
            assert sum(words.count(TAKEN) for words, _ in messages(channel)) == 60
            await until(lambda: len(connections._on_lost) == 60)
            await asyncio.sleep(0.01)
            connections.close()
            await until(lambda: not connections._on_lost)
            intake.close()

    run(work())


def test_an_intake_is_found_by_no_file():
    async def work() -> None:
        intake = Intake(Connections(app, 5))
        assert intake.address.startswith("\0heliostat-")
        intake.close()

    run(work())
