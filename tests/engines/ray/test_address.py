"""Where clusters are: what users write, and what nobody answers at."""

import socket
import threading
import time

import pytest

from heliostat._engines.ray import address
from heliostat._engines.ray.address import Address, expect_somebody, parse


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", Address("local")),
        ("local", Address("local")),
        ("auto", Address("auto")),
        ("ray://head:10001", Address("client", "head", 10001)),
        ("ray://head", Address("client", "head", 10001)),
        ("ray://[::1]:7", Address("client", "::1", 7)),
        ("10.0.0.7:6379", Address("head", "10.0.0.7", 6379)),
        ("[fe80::1]:6379", Address("head", "fe80::1", 6379)),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse(text) == address


@pytest.mark.parametrize("text", ["auto", "ray://head:10001", "10.0.0.7:6379", "[fe80::1]:6379"])
def test_an_address_is_written_as_ray_writes_it(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "http://head:8265",
        "ray://",
        "ray://head:port",
        "head:0",
        "head:70000",
        "my head:1",
        ":6379",
        "head:1:2",
    ],
)
def test_what_is_no_address_is_named_with_what_one_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?s)address=.*ray://host:10001"):
        parse(text)


def test_a_host_without_a_port_is_told_both_ports() -> None:
    with pytest.raises(ValueError, match=r"head:6379.*ray://head:10001"):
        parse("head")


@pytest.mark.parametrize("kind", ["client", "head"])
def test_nobody_at_an_address_is_an_error_at_once_that_says_how_to_start_one(kind: str) -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        nobody = Address(kind, "127.0.0.1", taken.getsockname()[1])  # type: ignore[arg-type]
        begin = time.monotonic()
        with pytest.raises(ConnectionError, match=r"(?s)127\.0\.0\.1.*`ray start --head"):
            expect_somebody(nobody, f"address={str(nobody)!r}")
        assert time.monotonic() - begin < 5


def answering(words: bytes) -> socket.socket:
    """A server that says this to the first who comes, whatever it hears."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with server.accept()[0] as there:
            there.recv(24 + 9)
            there.sendall(words)

    threading.Thread(target=answer).start()
    return server


def test_somebody_who_greets_as_ray_does_is_enough() -> None:
    with answering(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))) as server:
        expect_somebody(Address("head", "127.0.0.1", server.getsockname()[1]), "it")
    expect_somebody(Address("auto"), "it")


def test_somebody_else_is_told_to_be_no_ray() -> None:
    with (
        answering(b"SSH-2.0-OpenSSH_9.6\r\n") as server,
        pytest.raises(ConnectionError, match="what listens there is no Ray"),
    ):
        expect_somebody(Address("client", "127.0.0.1", server.getsockname()[1]), "it")


def test_somebody_who_says_nothing_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_PATIENCE_S", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(ConnectionError, match="timed out"),
    ):
        expect_somebody(Address("head", "127.0.0.1", server.getsockname()[1]), "it")
