"""Window: shows a session to the `heliostat` command in another shell. It is read-only, without a file.

An abstract Unix socket: it has no file that could be left behind, no network port, and only
processes of the same user are answered. Whoever connects gets one JSON document: the one that its
own socket's name ends with (`heliostat-wish-...-tasks`), so that nothing is read from it; or `why`'s.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from heliostat._core import session

NAME = "\0heliostat-why-{uid}-{pid}"
# Beside these, every kind of `heliostat.runtime_context.records`.
REPORT, STACK, DASHBOARD = "report", "stack", "dashboard"
_WISH = b"\0heliostat-wish-"
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_PATIENCE_S = 5.0


class Window:
    """Listens; the hub tells it when somebody knocks.

    Args:
        look: Gives what a wish is for; ValueError for one that nobody knows.
    """

    def __init__(self, look: Callable[[str], Any]) -> None:
        self._look = look
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
            visitor, name = self._socket.accept()
        except OSError:
            return
        if not _is_ours(visitor):
            visitor.close()
            return
        wish = REPORT
        if isinstance(name, bytes) and name.startswith(_WISH):
            wish = name.rpartition(b"-")[2].decode()
        try:
            found: Any = session.show  # it takes a moment: not here
            if wish != DASHBOARD:
                found = stack() if wish == STACK else self._look(wish)
        except (KeyError, ValueError):
            found = {"error": f"a session of this version has nothing to tell of {wish!r}"}
        threading.Thread(target=_send, args=(visitor, found), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


def _is_ours(visitor: socket.socket) -> bool:
    raw = visitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return bool(uid == os.getuid() or uid == 0)


def stack() -> str:
    """What all threads of this process do now."""
    import faulthandler  # noqa: PLC0415 - only when somebody looks

    with os.fdopen(os.memfd_create("heliostat-stack"), "w+b") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read().decode(errors="replace")


def _send(visitor: socket.socket, found: Any) -> None:
    """In a thread of its own: neither long rows nor a slow reader shall hold the session up."""
    import json  # noqa: PLC0415 - only when somebody looks

    if callable(found):
        found = found()
    document = json.dumps(found, default=_text).encode()
    visitor.settimeout(_PATIENCE_S)
    with contextlib.suppress(OSError), visitor:
        visitor.sendall(document)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
