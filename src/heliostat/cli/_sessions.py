"""The sessions of this user that run now, and what each has to tell; from another process.

Each answers on an abstract Unix socket (see `_engines/local/output/window.py`) with one JSON document.
Knows nothing of what the documents mean.
"""

import json
import os
import re
import socket
from pathlib import Path
from typing import Any

from heliostat.cli._errors import CommandError

_SOCKETS = Path("/proc/net/unix")
_PATIENCE_S = 5.0


class NoSession(CommandError):
    """There is no session to ask, or there are several."""


def running() -> dict[int, str]:
    """The driver processes that have a session, and the addresses of these."""
    name = re.compile(rf"@(heliostat-why-{os.getuid()}-(\d+))$", re.MULTILINE)
    found = {int(pid): f"\0{path}" for path, pid in name.findall(_SOCKETS.read_text())}
    return dict(sorted(found.items()))


def chosen(pid: int | None) -> int:
    """The driver process that is meant.

    Args:
        pid: The one that was named on the command line; None: the only one there is.

    Raises:
        NoSession: There is none, or several.
    """
    found = running()
    if pid is not None and pid not in found:
        others = f"; those that have one: {_listed(found)}" if found else "; none has, now"
        raise NoSession(f"process {pid} has no session{others}")
    if not found:
        raise NoSession(
            "no session runs (of this user, on this machine); start a program that uses Heliostat, "
            "and ask while it runs"
        )
    if pid is None and len(found) > 1:
        raise NoSession(f"several sessions run; choose one with --pid: {_listed(found)}")
    return next(iter(found)) if pid is None else pid


def ask(pid: int, wish: str = "report") -> Any:
    """What a session tells.

    Args:
        pid: Its driver process.
        wish: "report", "stack" or a kind of row, such as "tasks".

    Raises:
        NoSession: It has ended, or does not answer.
    """
    address = running().get(pid)
    if address is None:
        raise NoSession(f"process {pid} has ended, or its session has")
    try:
        told = json.loads(_read(address, wish))
    except TimeoutError as error:
        raise NoSession(
            f"process {pid} does not answer within {_PATIENCE_S:.0f} s: it is stopped, or in native "
            "code that lets nothing else run"
        ) from error
    except (OSError, ValueError) as error:  # cut off, or nobody there any more
        raise NoSession(f"process {pid} has ended meanwhile ({error})") from error
    if isinstance(told, dict) and "error" in told:
        raise NoSession(f"process {pid}: {told['error']}")
    return told


def _read(address: str, wish: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_PATIENCE_S)
        # What we want is in our own name, so that nobody has to wait for us to say it.
        sock.bind(f"\0heliostat-wish-{os.getpid()}-{os.urandom(4).hex()}-{wish}")
        sock.connect(address)
        parts = []
        while part := sock.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def _listed(found: dict[int, str]) -> str:
    return ", ".join(f"{pid} ({program_of(pid)})" for pid in found)


def program_of(pid: int) -> str:
    """The command line of a process, without what could move a terminal's cursor."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "it has ended"
    text = " ".join(word.decode(errors="replace") for word in words[1:] if word)
    return plain(text if len(text) <= 60 else f"{text[:57]}...")


def plain(text: object) -> str:
    """Names are the user's: no control characters of theirs reach the terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(text))
