"""Acceptor: owns the port, and gives each new connection to the replica that will answer on it.

It looks at the first line of a connection without taking it out of the socket, finds the
application by its path, and passes the socket itself to the replica with the fewest open
connections. From then on the replica speaks with the client; no request makes a second hop.
A connection whose application has no replica yet is kept until there is one: so a deployment that
sleeps is woken without losing a request. What no replica will answer (no route, a strange first
line) it answers through its own `Connections`. A connection that a replica had not taken when it
died goes to another; when replicas come, those that have more connections than their share are
asked to hand idle ones back.

It does not know HTTP beyond the first line, nor actors.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from heliostat.serve._connections import ASK, BACK, CLOSED, GIVEN, TAKEN, Connections, messages
from heliostat.serve._proxy import Route, by_length, match
from heliostat.serve.exceptions import PortTakenError

_FIRST_LINE_BYTES = 8192
_MOST_AT_ONCE = 200  # connections that are asked back, with one message
_TOO_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\nconnection: close\r\n"
    b"content-length: 48\r\n\r\nNo replica was there within request_timeout_s.\r\n"
)


def listen(
    host: str, port: int, another: str = "serve.start(http_options={'port': ...})"
) -> socket.socket:
    """A listening TCP socket; `another` says how a user chooses another port.

    Raises:
        PortTakenError: When the port is taken.
        OSError: When the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(
                error.errno,
                f"port {port} on {host} is taken by {holder_of(port)}; stop it, or choose "
                f"another port with {another}",
            ) from None
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def holder_of(port: int) -> str:
    """The process that listens on a TCP port, as far as /proc tells."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == "0A" and int(columns[1].rsplit(":", 1)[1], 16) == port:
                    inodes.add(f"socket:[{columns[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        # Other users' processes, and those that end while we look, cannot be read.
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) in inodes:
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    return f"process {process.name} ({command.strip()[:200]})"
    return "another process (of another user, or outside this container)"


def path_of(first_bytes: bytes) -> str | None:
    """The decoded path in the first line of a request; None when that is not whole or strange.

    Example:
        >>> path_of(b"GET /a%20b?c HTTP/1.1")
        '/a b'
        >>> path_of(b"GET /lon") is None
        True
    """
    words = first_bytes.split(b"\r\n", 1)[0].split(b" ")
    if len(words) < 3 or not words[1].startswith(b"/"):
        return None
    return unquote(words[1].split(b"?", 1)[0].decode("latin-1"))


class Queue(NamedTuple):
    """What may wait for the first replica of an application."""

    most: int  # connections; -1 for any number
    timeout_s: float | None  # how long each

    def admits(self, waiting: int) -> bool:
        """Whether one more may wait."""
        return self.most < 0 or waiting < self.most


@dataclass
class _Door:
    """The acceptor's end of a channel to one replica."""

    replica: str
    channel: socket.socket
    open_count: int = 0
    not_taken: deque[socket.socket] = field(default_factory=deque)


class Acceptor:
    """Accepts connections and gives each to a replica.

    Args:
        listener: A listening socket, not blocking.
        own: Answers on the connections that no replica takes.
        idle_timeout_s: How long a new connection may stay silent.
        on_waiting: Hears how many connections wait for an application's first replica.
        reads_first_line: False when connections are encrypted: they go to the application at "/",
            or the first there is, whose replicas forward what is not theirs.
    """

    def __init__(
        self,
        listener: socket.socket,
        own: Connections,
        idle_timeout_s: float,
        on_waiting: Callable[[str, int], None] | None = None,
        *,
        reads_first_line: bool = True,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._own = own
        self._idle_timeout_s = idle_timeout_s
        self._routes: list[Route] = []
        self._apps: dict[str, list[_Door]] = {}
        self._doors: dict[str, _Door] = {}
        self._silent: dict[socket.socket, asyncio.TimerHandle] = {}
        self._on_waiting = on_waiting
        self._reads_first_line = reads_first_line
        self._queues: dict[str, Queue] = {}
        self._waiting: dict[str, deque[socket.socket]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop.add_reader(listener, self._accept)
        # The next request of a connection may be for an application that has a replica.
        own.lend(self._take_back)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    def update(
        self,
        routes: Iterable[Route],
        doors: Mapping[str, Mapping[str, str]],
        queues: Mapping[str, Queue] | None = None,
    ) -> None:
        """What there is now.

        Args:
            routes: The table of routes.
            doors: For each application the channel address of each running replica, by its name,
                which no other replica ever has.
            queues: The applications that may get a replica, if they have none.
        """
        self._queues = dict(queues or {})
        self._routes = by_length(routes)
        # A door that is not named any more stays open, for what the replica hands back.
        self._apps = {
            app: [door for item in replicas.items() if (door := self._door(*item)) is not None]
            for app, replicas in doors.items()
        }
        for app in [app for app in self._waiting if self._apps.get(app) or app not in self._queues]:
            for sock in self._waiting.pop(app):
                self._give(sock, self._path(sock))
            self._tell_waiting(app)
        for app_doors in self._apps.values():
            self._level(app_doors)

    def close(self) -> None:
        """Free the port and leave all connections."""
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for sock in list(self._silent):
            self._forget(sock)
            sock.close()
        for waiting in self._waiting.values():
            for sock in waiting:
                sock.close()
        for door in list(self._doors.values()):
            self._lost(door, give_on=False)
        self._own.close()

    def _level(self, doors: list[_Door]) -> None:
        """Ask those that have more than their share of connections for what is too much."""
        total = sum(door.open_count for door in doors)
        share = -(-total // len(doors)) if doors else 0
        for door in doors:
            surplus = min(door.open_count - share, _MOST_AT_ONCE)
            if surplus > 0:
                with contextlib.suppress(OSError):  # dead, or it has stopped reading
                    door.channel.send(ASK * surplus)

    def _door(self, replica: str, address: str) -> _Door | None:
        known = self._doors.get(replica)
        if known is not None:
            return known
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        channel.setblocking(False)
        try:
            channel.connect(address)
        except OSError:  # dead already; the controller will hear of it
            channel.close()
            return None
        door = self._doors[replica] = _Door(replica, channel)
        self._loop.add_reader(channel, self._listen_to, door)
        return door

    def _listen_to(self, door: _Door) -> None:
        for words, descriptors in messages(door.channel):
            for descriptor in descriptors:
                self._await_first_line(socket.socket(fileno=descriptor))
            for _ in range(min(words.count(TAKEN), len(door.not_taken))):
                door.not_taken.popleft().close()
            door.open_count = max(0, door.open_count - words.count(CLOSED))
            assert not descriptors or BACK in words
            if not words:
                self._lost(door, give_on=True)

    def _lost(self, door: _Door, *, give_on: bool) -> None:
        self._loop.remove_reader(door.channel)
        door.channel.close()
        if self._doors.get(door.replica) is door:
            del self._doors[door.replica]
        for doors in self._apps.values():
            if door in doors:
                doors.remove(door)
        for sock in door.not_taken:
            if give_on:
                self._await_first_line(sock)
            else:
                sock.close()

    def _accept(self) -> None:
        for _ in range(64):
            try:
                sock, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                # No descriptor left: look again in a second instead of spinning on the listener.
                self._loop.remove_reader(self._listener)
                self._loop.call_later(1.0, self._resume)
                return
            self._await_first_line(sock)

    def _take_back(self, descriptor: int) -> bool:
        self._await_first_line(socket.socket(fileno=os.dup(descriptor)))
        return True

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _await_first_line(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if self._look(sock):
            return
        timer = self._loop.call_later(self._idle_timeout_s, self._give_up, sock)
        self._silent[sock] = timer
        self._loop.add_reader(sock, self._readable, sock)

    def _readable(self, sock: socket.socket) -> None:
        self._forget(sock)
        if not self._look(sock):
            self._await_first_line(sock)

    def _look(self, sock: socket.socket) -> bool:
        """Give the connection away if it has said something; False while it is silent."""
        try:
            seen = sock.recv(_FIRST_LINE_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            seen = b""
        if seen:
            self._give(sock, path_of(seen))
        else:
            sock.close()
        return True

    def _forget(self, sock: socket.socket) -> None:
        self._silent.pop(sock).cancel()
        self._loop.remove_reader(sock)

    def _give_up(self, sock: socket.socket) -> None:
        self._forget(sock)
        sock.close()

    def _path(self, sock: socket.socket) -> str | None:
        try:
            return path_of(sock.recv(_FIRST_LINE_BYTES, socket.MSG_PEEK))
        except OSError:
            return None

    def _give(self, sock: socket.socket, path: str | None) -> None:
        route = None if path is None else match(self._routes, path)
        if not self._reads_first_line and self._routes:
            route = self._routes[-1]
        app = "" if route is None else route.app_name
        doors = self._apps.get(app, [])
        for door in sorted(doors, key=lambda door: door.open_count):
            try:
                socket.send_fds(door.channel, [GIVEN], [sock.fileno()])
            except OSError:  # dead, or it has stopped reading: the next one
                continue
            door.open_count += 1
            door.not_taken.append(sock)
            doors.remove(door)  # of those with as few it is the last to be chosen again
            doors.append(door)
            return
        queue = self._queues.get(app)
        if queue is not None and queue.admits(len(self._waiting.get(app, ()))):
            self._wait(sock, app, queue)
            return
        task = self._loop.create_task(self._own.adopt(sock, lambda: None))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _wait(self, sock: socket.socket, app: str, queue: Queue) -> None:
        self._waiting.setdefault(app, deque()).append(sock)
        self._tell_waiting(app)
        if queue.timeout_s is not None:
            self._loop.call_later(queue.timeout_s, self._too_late, sock, app)

    def _too_late(self, sock: socket.socket, app: str) -> None:
        waiting = self._waiting.get(app, ())
        if sock in waiting:
            self._waiting[app].remove(sock)
            self._tell_waiting(app)
            with contextlib.suppress(OSError):
                sock.send(_TOO_LATE)
            sock.close()

    def _tell_waiting(self, app: str) -> None:
        if self._on_waiting is not None:
            self._on_waiting(app, len(self._waiting.get(app, ())))
