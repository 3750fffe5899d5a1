"""Window: shows a session to `heliostat why` in another shell. It is read-only and leaves no file.

An abstract Unix socket: it has no file that could be left behind, no network port, and only
processes of the same user are answered. Whoever connects gets one JSON document.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

NAME = "\0heliostat-why-{uid}-{pid}"
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_PATIENCE_S = 5.0


class Window:
    """Listens; the hub tells it when somebody knocks.

    Args:
        report: Makes the document.
    """

    def __init__(self, report: Callable[[], dict[str, Any]]) -> None:
        self._report = report
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        # Taken if this process has another session in another network namespace of ours: then
        # nobody can look into this one, which is no reason to fail.
        with contextlib.suppress(OSError):
            self._socket.bind(NAME.format(uid=os.getuid(), pid=os.getpid()))
            self._socket.listen(4)

    def fileno(self) -> int:
        """What to watch."""
        return self._socket.fileno()

    def answer(self) -> None:
        """Somebody has knocked: send the document, without waiting for a slow reader."""
        try:
            visitor, _ = self._socket.accept()
        except OSError:
            return
        if not _is_ours(visitor):
            visitor.close()
            return
        import json  # noqa: PLC0415 - only when somebody looks

        document = json.dumps(self._report(), default=str).encode()
        threading.Thread(
            target=_send, args=(visitor, document), name="heliostat-why", daemon=True
        ).start()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


def _is_ours(visitor: socket.socket) -> bool:
    raw = visitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return bool(uid == os.getuid() or uid == 0)


def _send(visitor: socket.socket, document: bytes) -> None:
    visitor.settimeout(_PATIENCE_S)
    with contextlib.suppress(OSError), visitor:
        visitor.sendall(document)
