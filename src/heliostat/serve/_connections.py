"""Connections that were accepted elsewhere: HTTP spoken on them, and the channel they come by.

`Connections` runs uvicorn's protocols on sockets it is given and listens nowhere; a client that
goes away cancels the request it had begun. `Intake` is the
replica's end of a channel to the `Acceptor`: sockets come in as file descriptors; "+" says one
was taken, "-" one is closed, and "<" hands an idle one back when the replica drains, so that
no client sees a connection break because of an update.

Neither knows applications or routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import secrets
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from email.utils import formatdate
from urllib.parse import unquote

import httptools
import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from heliostat._boot import boot_id
from heliostat.serve._exchange import Exchange

_HEAD_BYTES = 65536  # request line and headers
_HEAD_S = 20.0  # how long they may take
_STALL_S = 60.0  # how long nothing may come of a body that is not whole
_MOST_MESSAGES = 256  # that are read from a channel at a time
_FLUSH_S = 0.002  # how soon to look again whether an answer has left
TAKEN, CLOSED, BACK = b"+", b"-", b"<"  # what the replica says
GIVEN, ASK = b"c", b"?"  # what the acceptor says: here is one, and give one back


class _Connection(HttpToolsProtocol):
    """uvicorn's protocol, which also tells when it is idle and when it is over.

    Requests are Exchanges here, and one timer looks after many pauses between them.
    """

    owner: Connections
    cycle: Exchange  # type: ignore[assignment]  # which has what uvicorn uses of its own
    reading = False
    head_since: float | None = None  # when a request began whose headers are not whole yet
    heard_at = 0.0
    _head_bytes = 0
    _running: Exchange | None = None  # the last whose answer was begun
    _request: asyncio.Task[None] | None = None  # which answers it
    _idle_at = 0.0
    _alarm: asyncio.TimerHandle | None = None  # looks whether it has been idle for too long

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)
        if self.head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                self.refuse(b"431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        self.head_since, self._head_bytes = None, 0
        scope: Scope = self.scope  # type: ignore[assignment]  # a TypedDict of uvicorn's
        version = self.parser.get_http_version()
        scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        url = httptools.parse_url(self.url)
        raw_path: bytes = url.path
        path = raw_path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = url.query or b""
        before = self.cycle
        exchange = self.cycle = Exchange(
            scope,
            self.transport,
            self.flow,
            self.owner.default_head,
            version != "1.0" and self.parser.should_keep_alive(),
            self.expect_100_continue,
            self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._answer(exchange)
        else:  # it has to wait for those before it
            self.flow.pause_reading()
            self._in_line.append(exchange)

    def is_slow(self, now: float) -> bool:
        """Whether the client has begun a request and takes too long to say the rest."""
        if self.head_since is not None:
            return now - self.head_since > _HEAD_S
        stalls = self.reading and not self.flow.read_paused and not self.cycle.response_started
        return stalls and now - self.heard_at > _STALL_S

    def refuse(self, status: bytes) -> None:
        """Answer what is no whole request, and close."""
        self.head_since, self.reading = None, False
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()

    def belong(self, owner: Connections) -> None:
        """To these, whose app answers."""
        self.owner = owner
        self._in_line: deque[Exchange] = deque()  # come, while one before them is answered

    def _answer(self, exchange: Exchange) -> None:
        self._keep_request()
        self._running = exchange
        self._request = self.loop.create_task(exchange.run(self.owner.app))

    def _keep_request(self) -> None:
        """One that is answered may go on with its own affairs, and loops hold tasks only weakly."""
        task = self._request
        if task is not None and not task.done():
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        self._forget_alarm()
        socket_ = self.transport.get_protocol()
        if isinstance(socket_, _WebSocket):
            socket_.owner = self.owner
            self.owner.upgraded(self, socket_)

    def on_message_begin(self) -> None:
        self.reading = True
        self.head_since = self.heard_at
        super().on_message_begin()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.reading = False
        if self.cycle is not None and self.cycle.response_complete:  # before all of it was here
            self._rest()

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._in_line:
            self._answer(self._in_line.popleft())
        else:
            self._rest()

    def _rest(self) -> None:
        self._idle_at = self.loop.time()
        if self._alarm is None:
            self._alarm = self.loop.call_later(self.timeout_keep_alive, self._look)
        if self.owner.wants_back:
            self.owner.idle(self)

    def _look(self) -> None:
        """Close it if nothing has come for long enough; else look again when that may be so."""
        self._alarm = None
        if self.head_since is not None or not self.cycle.response_complete:
            return  # `is_slow` knows of the one, and the next answer sets the next alarm
        rest = max(self._idle_at, self.heard_at) + self.timeout_keep_alive - self.loop.time()
        if rest > 0:
            self._alarm = self.loop.call_later(rest, self._look)
        else:
            self.transport.close()

    def _forget_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget_alarm()
        self._keep_request()
        running = self._running
        # What an application does after its answer is its own affair.
        if running is not None and self._request is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
            self._request.cancel()
        self.owner.lost(self)

    @property
    def is_idle(self) -> bool:
        """No request has begun on it that is not answered."""
        if self.transport.get_protocol() is not self:
            return False  # it has become a WebSocket
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not self.reading and not self._in_line

    def descriptor(self) -> int:
        """The socket's number."""
        return int(self.transport.get_extra_info("socket").fileno())


class _WebSocket(WebSocketsSansIOProtocol):
    """uvicorn's protocol, which also tells when it is over."""

    owner: Connections | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.owner is not None:
            self.owner.lost(self)


class Connections:
    """HTTP/1.1 and WebSockets on sockets that are given to it.

    Args:
        app: The ASGI app that answers.
        keep_alive_timeout_s: How long a connection may be idle.
        tls: What they are encrypted with, if they are. Such a connection cannot be given to
            another process: it is closed instead, when it is idle.
    """

    def __init__(
        self, app: ASGIApp, keep_alive_timeout_s: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self.app = app
        self._tls = tls
        self._config = uvicorn.Config(
            app,
            http="httptools",
            ws=_WebSocket,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=keep_alive_timeout_s,  # type: ignore[arg-type]  # floats work
        )
        self._config.load()
        self._state = ServerState()
        self._clock: asyncio.TimerHandle | None = None
        self._on_lost: dict[asyncio.Protocol, Callable[[], None]] = {}
        self.default_head = b""
        self._give_back: Callable[[int], bool] | None = None
        self._draining = False
        self._owed: float = 0  # connections to give back as they become idle
        self.drained = asyncio.Event()

    async def adopt(self, sock: socket.socket, on_lost: Callable[[], None]) -> None:
        """Speak HTTP on a connected socket from now on; `on_lost` when it is closed."""
        connection = _Connection(self._config, self._state, {})
        connection.belong(self)
        self._on_lost[connection] = on_lost
        if self._clock is None:
            self._tick()
        sock.setblocking(False)
        try:
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: connection, sock, ssl=self._tls)
        except OSError:  # the client has gone already
            sock.close()
            self.lost(connection)
        else:
            if self._draining:
                self.idle(connection)

    def lend(self, give_back: Callable[[int], bool], owed: float = math.inf) -> None:
        """From now on give so many connections away, each when it has been answered.

        Args:
            give_back: Takes a file descriptor; False closes the connection instead.
            owed: How many; all, unless given.
        """
        self._give_back, self._owed = give_back, owed

    @property
    def wants_back(self) -> bool:
        """Whether connections that are idle shall go away."""
        return self._owed > 0

    def owe(self, number: int) -> None:
        """Give so many more away, and begin with those that are idle now."""
        self._owed += number
        self._offer_all()

    def drain(self, give_back: Callable[[int], bool]) -> None:
        """Give all away, and begin with those that are idle now; `drained` when none is left."""
        self.lend(give_back)
        self._draining = True
        self._offer_all()
        self._check_drained()

    def _offer_all(self) -> None:
        for connection in list(self._on_lost):
            if isinstance(connection, _Connection):
                self.idle(connection)

    def idle(self, connection: _Connection) -> None:
        """A connection has been answered; it goes away if that is wanted and nothing waits on it."""
        if self._owed > 0 and (self._tls is None or self._draining):
            # Not now: loops may keep the answer until the end of their round.
            asyncio.get_running_loop().call_soon(self._give_away, connection)

    def _give_away(self, connection: _Connection) -> None:
        transport = connection.transport
        assert self._give_back is not None
        if self._owed < 1 or not connection.is_idle or transport.is_closing():
            return
        if transport.get_write_buffer_size():
            # What is not in the socket yet would be lost with the transport.
            asyncio.get_running_loop().call_later(_FLUSH_S, self._give_away, connection)
            return
        self._owed -= 1
        if self._tls is None and self._give_back(connection.descriptor()):
            transport.abort()  # ours only: the descriptor that was sent lives on
        else:
            transport.close()

    def upgraded(self, connection: _Connection, socket_: _WebSocket) -> None:
        """A connection has become a WebSocket, which stays where it is until it is closed."""
        self._on_lost[socket_] = self._on_lost.pop(connection)

    def lost(self, connection: asyncio.Protocol) -> None:
        """A connection is closed."""
        on_lost = self._on_lost.pop(connection, None)
        if on_lost is not None:
            on_lost()
        if self._owed < math.inf:
            self._owed = min(self._owed, len(self._on_lost))
        self._check_drained()

    def close(self) -> None:
        """Break all connections."""
        for connection in list(self._on_lost):
            connection.transport.abort()  # type: ignore[attr-defined]  # both kinds have one
        if self._clock is not None:
            self._clock.cancel()

    def _check_drained(self) -> None:
        if self._draining and not self._on_lost:
            self.drained.set()

    def _refuse_slow(self) -> None:
        """Requests that are begun and do not come to their end."""
        now = asyncio.get_running_loop().time()
        for connection in list(self._on_lost):
            if isinstance(connection, _Connection) and connection.is_slow(now):
                connection.refuse(b"408 Request Timeout")

    def _tick(self) -> None:
        """Keep the Date header right, as long as there are connections."""
        now = time.time()
        date = (b"date", formatdate(now, usegmt=True).encode())
        self._state.default_headers = [date]
        self.default_head = b"date: %b\r\n" % date[1]
        self._clock = None
        self._refuse_slow()
        if self._on_lost:
            self._clock = asyncio.get_running_loop().call_later(1.0 - now % 1.0, self._tick)


def whereabouts() -> str:
    """Within what sockets of the abstract namespace can be reached: a network of this machine."""
    return f"{boot_id()} {os.readlink('/proc/thread-self/ns/net')}"


def this_process() -> str:
    """A name that no other process has, on any machine of a cluster."""
    return f"{whereabouts()} {os.getpid()}"


def messages(channel: socket.socket) -> Iterator[tuple[bytes, list[int]]]:
    """Words and descriptors that have come by a channel; the words are empty when it has ended.

    As many as there are, and not one in each round of the loop: in a busy replica a round takes
    as long as the answers on all connections that it has, and the last of many new ones would
    wait for as many rounds.
    """
    for _ in range(_MOST_MESSAGES):
        try:
            words, descriptors, _, _ = socket.recv_fds(channel, 256, 64)
        except BlockingIOError:
            return
        except OSError:
            words, descriptors = b"", []
        yield words, descriptors
        if not words:
            return


class Intake:
    """The replica's end of the channel: takes connections from the Acceptor of the same user."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._channel: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        connections.lend(self._hand_back, 0)
        # In the abstract namespace: nothing on any disk, gone with the process.
        self.address = f"\0heliostat-{secrets.token_hex(16)}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(self.address)
        self._listener.listen(8)
        self._loop.add_reader(self._listener, self._accept)

    def drain(self) -> None:
        """Hand connections back as they become idle."""
        self._connections.drain(self._hand_back)

    def close(self) -> None:
        """Leave."""
        self._loop.remove_reader(self._listener)
        self._listener.close()
        self._drop_channel()

    def _accept(self) -> None:
        channel, _ = self._listener.accept()
        if _peer_uid(channel) != os.getuid():
            channel.close()
            return
        self._drop_channel()
        channel.setblocking(False)
        self._channel = channel
        self._loop.add_reader(channel, self._receive, channel)

    def _receive(self, channel: socket.socket) -> None:
        for words, descriptors in messages(channel):
            if not words:
                self._drop_channel()
            if ASK in words:
                self._connections.owe(words.count(ASK))
            for descriptor in descriptors:
                self._say(TAKEN)
                sock = socket.socket(fileno=descriptor)
                adopting = self._connections.adopt(sock, lambda: self._say(CLOSED))
                task = self._loop.create_task(adopting)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _say(self, word: bytes) -> None:
        if self._channel is not None:
            with contextlib.suppress(OSError):  # the acceptor is gone: nobody counts any more
                self._channel.send(word)

    def _hand_back(self, descriptor: int) -> bool:
        if self._channel is None:
            return False
        try:
            socket.send_fds(self._channel, [BACK], [descriptor])
        except OSError:
            return False
        return True

    def _drop_channel(self) -> None:
        if self._channel is not None:
            self._loop.remove_reader(self._channel)
            self._channel.close()
            self._channel = None


def _peer_uid(channel: socket.socket) -> int:
    size = struct.calcsize("3i")
    _pid, uid, _gid = struct.unpack(
        "3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return int(uid)
