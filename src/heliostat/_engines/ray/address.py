"""Where a cluster is, as users write it; and whether somebody is there. Knows no Ray."""

from __future__ import annotations

import os
import socket
from typing import Literal, NamedTuple

FORMS = '"auto", "ray://host:10001" (a Ray client), "host:6379" (the head node) or "local"'
_PORTS = {"client": 10001, "head": 6379}
_PATIENCE_S = 3.0
_SETTINGS = 4  # a kind of frame
_NO_SETTINGS = bytes((0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0))


class Address(NamedTuple):
    """A cluster's place: its kind, and for those elsewhere a host and a port."""

    kind: Literal["local", "auto", "client", "head"]
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        """As Ray writes it."""
        if self.kind in ("local", "auto"):
            return self.kind
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ray://{host}:{self.port}" if self.kind == "client" else f"{host}:{self.port}"


def parse(text: str) -> Address:
    """What the user wrote.

    Raises:
        ValueError: If it is no address; says what one looks like.

    Example:
        >>> parse("ray://head"), str(parse("10.0.0.7:6379"))
        (Address(kind='client', host='head', port=10001), '10.0.0.7:6379')
    """
    if text in ("", "local"):
        return Address("local")
    if text == "auto":
        return Address("auto")
    kind: Literal["client", "head"] = "client" if text.startswith("ray://") else "head"
    place = text.removeprefix("ray://")
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        host, port = place, str(_PORTS[kind])
    bare = host.removeprefix("[").removesuffix("]")
    host, wrong = bare, not bare or (":" in host and bare == host)
    wrong = wrong or any(letter in "/=" or letter.isspace() for letter in host)
    if wrong or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"address={text!r} is no address of a Ray cluster: use {FORMS}")
    if kind == "head" and not colon:
        raise ValueError(
            f"address={text!r} names no port: use {text}:6379 for the head node, or "
            f"ray://{text}:10001 for its client server"
        )
    return Address(kind, host, int(port))


def expect_somebody(address: Address, said: str) -> None:
    """Fail at once where no Ray listens: Ray itself would wait for half a minute."""
    if address.kind in ("local", "auto"):
        return
    try:
        with socket.create_connection((address.host, address.port), timeout=_PATIENCE_S) as there:
            if "RAY_USE_TLS" not in os.environ:
                _expect_grpc(there)
    except OSError as error:
        what = "Ray client server" if address.kind == "client" else "head node of a Ray cluster"
        option = "ray-client-server-port" if address.kind == "client" else "port"
        start = f"ray start --head --{option} {_PORTS[address.kind]}"
        raise ConnectionError(
            f"{said}: no {what} answers there ({error}). Look whether the host and the port are right "
            f"and reachable from here; `{start}` starts one"
        ) from None


def _expect_grpc(there: socket.socket) -> None:
    """Fail unless whoever listens speaks HTTP/2, as both servers of Ray do: it greets with settings."""
    there.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _NO_SETTINGS)
    greeting = there.recv(9)
    if len(greeting) < 4 or greeting[3] != _SETTINGS:
        raise ConnectionError("what listens there is no Ray")
