"""`heliostat debug`: the breakpoints that wait in tasks and actors of this user, and a way in.

Each listens on an abstract Unix socket (see `util/rpdb.py`). Knows nothing else of debuggers.
"""

import argparse
import contextlib
import os
import re
import select
import socket
import sys
from pathlib import Path
from typing import Any, NamedTuple

from heliostat.cli._errors import CommandError
from heliostat.cli._tables import write_json

_SOCKETS = Path("/proc/net/unix")


class Waiting(NamedTuple):
    """A breakpoint that waits."""

    pid: int
    address: str
    about: str


def add_parser(commands: Any) -> None:
    """Add `debug`."""
    parser = commands.add_parser("debug", help="attach to a breakpoint in a task or actor")
    parser.add_argument("pid", nargs="?", type=int, metavar="PID", help="of this worker process")
    parser.add_argument(
        "--pid", type=int, dest="named", metavar="PID", help="the same, as for other commands"
    )
    parser.add_argument("--json", action="store_true", help="list them, for programs")
    parser.set_defaults(carry_out=debug)


def debug(options: argparse.Namespace) -> int:
    """Attach to the breakpoint that waits, or list them if there are several; the exit code."""
    pid = options.pid if options.named is None else options.named
    found = waiting(pid)
    if options.json:
        write_json([{"pid": each.pid, "about": each.about} for each in found])
        return 0
    if not found:
        where = "" if pid is None else f" in process {pid}"
        raise CommandError(f"no breakpoint waits{where} (of this user, on this machine)")
    if len(found) > 1 and pid is None:
        for each in found:
            sys.stdout.write(f"process {each.pid}: {_plain(each.about)}\n")
        sys.stdout.write("attach to one: heliostat debug PID\n")
        return 0
    attach(found[0])
    return 0


def waiting(pid: int | None) -> list[Waiting]:
    """The breakpoints that wait now."""
    name = re.compile(rf"@(heliostat-debug-{os.getuid()}-(\d+)-\d+)$", re.MULTILINE)
    found = []
    for path, number in sorted(set(name.findall(_SOCKETS.read_text()))):
        if pid in (None, int(number)):
            with contextlib.suppress(OSError), _call(f"\0{path}", b"?") as sock:
                found.append(Waiting(int(number), f"\0{path}", sock.recv(4096).decode()))
    return found


def _call(address: str, wish: bytes) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(5.0)
        sock.connect(address)
        sock.sendall(wish)
    except OSError:
        sock.close()
        raise
    return sock


def attach(breakpoint_: Waiting) -> None:
    """Join this terminal to it, until it goes on."""
    sys.stdout.write(f"process {breakpoint_.pid}: {_plain(breakpoint_.about)}\n")
    sys.stdout.flush()
    with _call(breakpoint_.address, b"a") as sock:
        sock.settimeout(None)
        sources: list[int] = [sock.fileno(), sys.stdin.fileno()]
        while True:
            ready, _, _ = select.select(sources, [], [])
            if sock.fileno() in ready:
                data = sock.recv(1 << 16)
                if not data:
                    return
                sys.stdout.write(data.decode(errors="replace"))
                sys.stdout.flush()
            if sys.stdin.fileno() in ready:
                typed = os.read(sys.stdin.fileno(), 4096)
                if typed:
                    sock.sendall(typed)
                else:  # no more to come: it goes on
                    sources.pop()
                    sock.shutdown(socket.SHUT_WR)


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
