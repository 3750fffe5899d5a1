"""What strangers send: an answer of 4xx or a closed connection, never a 5xx, never a hang."""

from __future__ import annotations

import contextlib
import gzip
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request, WebSocket

from heliostat import serve

HEAD = b"POST /echo HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture(scope="module")
def served(port: int) -> Iterator[int]:
    app = FastAPI()

    @serve.deployment(max_ongoing_requests=50)
    @serve.ingress(app)
    class Api:
        @app.post("/echo")
        async def echo(self, body: dict[str, Any]) -> dict[str, Any]:
            return body

        @app.post("/size")
        async def size(self, request: Request) -> int:
            return len(await request.body())

        @app.post("/limited")
        async def limited(self, request: Request) -> int:
            if int(request.headers["content-length"]) > 1_000_000:
                raise HTTPException(413)
            return len(await request.body())

        @app.get("/file/{name:path}")
        async def file(self, name: str) -> str:
            return name

        @app.websocket("/socket")
        async def socket(self, socket: WebSocket) -> None:
            await socket.accept()
            async for text in socket.iter_text():
                await socket.send_text(text)

    serve.run(Api.bind())
    yield port
    serve.delete("default")


def send(port: int, *parts: bytes, timeout_s: float = 20) -> bytes:
    """All that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as sock:
        for part in parts:
            sock.sendall(part)
        answer = b""
        while data := sock.recv(65536):
            answer += data
        return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.mark.parametrize(
    "request_",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,  # TLS on a plain port
        HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffffffff\r\n",
        HEAD + b"content-length: -1\r\n\r\n",
        HEAD + b"content-length: 99999999999999999999999\r\n\r\n",
        HEAD + b"bad header\r\n\r\n",
        HEAD + b"x: a\x00b\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        HEAD + b"x: " + b"a" * 300_000 + b"\r\n\r\n",
        HEAD + b"a: b\r\n" * 30_000 + b"\r\n",
    ],
    ids=range(17),
)
def test_a_malformed_request_is_refused_and_the_connection_closed(served: int, request_: bytes):
    try:
        answer = send(served, request_)
    except (ConnectionResetError, BrokenPipeError):
        answer = b""
    assert status(answer) == 0 or 400 <= status(answer) < 500, answer[:200]
    assert answer.count(b"HTTP/1.1 ") <= 1, "a smuggled request was answered"


@pytest.mark.parametrize(
    ("path", "code"),
    [("/..%2f..%2fetc/passwd", 404), ("/%00", 404), ("/file/%2e%2e%2fx", 200), ("/%zz", 404)],
)
def test_strange_paths_are_paths_and_nothing_else(served: int, path: str, code: int):
    answer = send(served, f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    assert status(answer) == code


def test_wrong_bodies_are_4xx_and_a_gzip_bomb_stays_packed(served: int):
    with httpx.Client(base_url=f"http://127.0.0.1:{served}") as client:
        assert client.post("/echo", content=b"{not json").status_code == 422
        deep = b'{"a":' + b"[" * 100_000
        assert client.post("/echo", content=deep).is_client_error
        bomb = gzip.compress(b"\0" * 10_000_000)
        answer = client.post("/size", content=bomb, headers={"content-encoding": "gzip"})
        assert answer.json() == len(bomb)
        assert client.post("/size", content=b"x" * 20_000_000).json() == 20_000_000


def test_a_body_of_100_mb_over_the_apps_limit_is_413_and_is_not_kept(served: int):
    head = b"POST /limited HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n"
    with socket.create_connection(("127.0.0.1", served), 20) as sock:
        sock.sendall(head + b"connection: close\r\n\r\n")
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(100):
                sock.sendall(b"x" * 1_000_000)
        with contextlib.suppress(ConnectionResetError):  # it has said why before
            assert status(sock.recv(65536)) == 413
    with httpx.Client(base_url=f"http://127.0.0.1:{served}") as client:
        assert client.post("/limited", content=b"x" * 1_000_001).status_code == 413
        assert client.post("/limited", content=b"x" * 1_000_000).json() == 1_000_000


def test_pipelined_requests_are_answered_in_order(served: int):
    one = b"GET /file/%d HTTP/1.1\r\nhost: x\r\n\r\n"
    last = b"GET /file/9 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    answer = send(served, b"".join(one % i for i in range(5)) + last)
    assert [part[1:2] for part in answer.split(b"\r\n\r\n")[1:]] == [
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
        b"9",
    ]


def test_many_idle_and_half_open_connections_leave_room_for_others(served: int):
    idle = [socket.create_connection(("127.0.0.1", served)) for _ in range(300)]
    for number, sock in enumerate(idle):
        if number % 3 == 0:
            sock.sendall(b"GE")
        elif number % 3 == 1:
            sock.sendall(HEAD + b"content-length: 10\r\n\r\nabc")
    try:
        assert httpx.get(f"http://127.0.0.1:{served}/file/x", timeout=20).json() == "x"
    finally:
        for sock in idle:
            sock.close()
    assert httpx.get(f"http://127.0.0.1:{served}/file/y", timeout=20).json() == "y"


@pytest.mark.parametrize(
    "frames",
    [
        b"\xff\xff\xff\xff",  # reserved bits
        b"\x81\x05hello",  # not masked
        b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + b"1234",  # longer than there is memory
        b"\x89\xfe\xff\xff1234" + b"x" * 65535,  # a ping that is too long
        b"",  # gone at once
    ],
    ids=range(5),
)
def test_a_broken_websocket_is_closed_and_the_next_one_works(served: int, frames: bytes):
    upgrade = (
        b"GET /socket HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served), 20) as sock:
        sock.sendall(upgrade)
        assert status(sock.recv(65536)) == 101
        sock.sendall(frames)
        if not frames:
            return
        deadline = time.monotonic() + 20
        while sock.recv(65536):
            assert time.monotonic() < deadline
    assert httpx.get(f"http://127.0.0.1:{served}/file/x", timeout=20).json() == "x"


def test_slow_headers_and_bodies_are_refused_in_time(monkeypatch: pytest.MonkeyPatch):
    # In this process, so that the patience can be short.
    import asyncio

    from heliostat.serve import _connections
    from heliostat.serve._connections import Connections

    monkeypatch.setattr(_connections, "_HEAD_S", 0.0)
    monkeypatch.setattr(_connections, "_STALL_S", 0.0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def go(begun: bytes) -> bytes:
        mine, theirs = socket.socketpair()
        mine.sendall(begun)
        await Connections(app, 60).adopt(theirs, lambda: None)
        reader, writer = await asyncio.open_connection(sock=mine)
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return answer

    assert status(asyncio.run(go(b"GET / HTTP/1.1\r\nx: y"))) == 408
    assert status(asyncio.run(go(HEAD + b"content-length: 9\r\n\r\nabc"))) == 408


def test_https_is_spoken_where_there_is_a_certificate(tmp_path: Any):
    import asyncio
    import ssl

    from heliostat.serve._connections import Connections
    from heliostat.serve.config import HTTPOptions

    key, certificate = _self_signed(tmp_path)
    options = HTTPOptions(ssl_keyfile=str(key), ssl_certfile=str(certificate))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": scope["scheme"].encode()})

    async def go() -> bytes:
        mine, theirs = socket.socketpair()
        trust = ssl.create_default_context(cafile=str(certificate))
        connections = Connections(app, 60, options.tls())
        adopting = asyncio.create_task(connections.adopt(theirs, lambda: None))
        reader, writer = await asyncio.open_connection(
            sock=mine, ssl=trust, server_hostname="localhost"
        )
        await adopting
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"https"), 20)
        connections.drain(lambda descriptor: True)
        await asyncio.wait_for(connections.drained.wait(), 20)
        writer.close()
        return answer

    assert status(asyncio.run(go())) == 200


def _self_signed(folder: Any) -> tuple[Any, Any]:
    x509 = pytest.importorskip("cryptography.x509")
    import datetime

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    key_file, certificate = folder / "key.pem", folder / "certificate.pem"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate
