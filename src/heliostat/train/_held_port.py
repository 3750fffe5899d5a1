"""A port of loopback that this process holds, for a server of gRPC's to listen on."""

from __future__ import annotations

import functools
import socket

HOST = "127.0.0.1"


def hold_port() -> int:
    """Take a free port: the same one each time in one process, until it is let go."""
    return int(_held().getsockname()[1])


def let_go() -> None:
    """Hold it no longer."""
    _held().close()
    _held.cache_clear()


@functools.cache
def _held() -> socket.socket:
    taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Who asks for this too may listen there, as gRPC does; nobody else is given the port.
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    taken.bind((HOST, 0))
    return taken
