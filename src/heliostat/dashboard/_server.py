"""HTTP on loopback: the pages, and the JSON behind them. A thread for each open connection.

The standard library's server is enough: its clients are a few tabs of one person. There is nothing
to send it but a URL, so bodies are never read.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from heliostat.dashboard._bundle import bundle, finite, read
from heliostat.dashboard._guard import Door, judge

DEFAULT_PORT = 8265
MOST_CONNECTIONS = 64
IDLE_S = 30.0
LICENCE = "vendor/uPlot.LICENSE.txt"
_TYPES = {"html": "text/html; charset=utf-8", "txt": "text/plain; charset=utf-8"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Answer(NamedTuple):
    """What a route gives."""

    body: bytes
    kind: str = "application/json"
    status: int = HTTPStatus.OK
    headers: tuple[tuple[str, str], ...] = ()


# A route: its path and what follows `?`, one value a name.
Routes = Callable[[str, dict[str, str]], Answer | None]


def as_json(value: Any, status: int = HTTPStatus.OK) -> Answer:
    """A value as JSON; what JSON has no form for is shown as text."""
    return Answer(json.dumps(finite(value), default=str).encode(), status=status)


class Site:
    """What there is beside the routes: the pages, and the licence of what they contain."""

    def __init__(self) -> None:
        pages = bundle()
        policy = f"{pages.policy}; connect-src 'self'; frame-ancestors 'none'"
        self._document = Answer(
            pages.text.encode(), _TYPES["html"], headers=(("Content-Security-Policy", policy),)
        )
        self._licence = Answer(read(LICENCE).encode(), _TYPES["txt"])

    def find(self, path: str) -> Answer | None:
        """The answer, if there is one at this path."""
        return {"/": self._document, f"/{LICENCE}": self._licence}.get(path)


class Server:
    """Listens from when it is made until it is closed.

    Args:
        port: Where; None takes the first free one from 8265 on.
        token: The secret.
        routes: What answers paths that are not files of the pages.

    Raises:
        OSError: If the port is taken.
    """

    def __init__(self, port: int | None, token: str, routes: Routes) -> None:
        self._http = _listen(port)
        self._http.routes = routes
        self._http.site = Site()
        self.port: int = self._http.server_address[1]
        self._http.door = Door(self.port, token)
        self.url = f"http://127.0.0.1:{self.port}/?token={token}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.2,), name="heliostat-dashboard", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and end the connections there are."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self._http.hang_up()


def _listen(port: int | None) -> _Http:
    if port is not None:
        try:
            return _Http(port)
        except OSError as error:
            raise OSError(
                error.errno, f"dashboard_port={port} cannot be listened on: {error.strerror}"
            ) from error
    for each in range(DEFAULT_PORT, DEFAULT_PORT + 20):
        with contextlib.suppress(OSError):
            return _Http(each)
    return _Http(0)


class _Http(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = MOST_CONNECTIONS
    routes: Routes
    site: Site
    door: Door

    def __init__(self, port: int) -> None:
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it asks a name server what this machine is called.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return len(self._open) < MOST_CONNECTIONS

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open[request] = threading.current_thread()
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.pop(request, None)

    def hang_up(self) -> None:
        with self._lock:
            rest = list(self._open.items())
        for connection, _ in rest:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for _, thread in rest:
            thread.join(timeout=2)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "heliostat"
    sys_version = ""
    timeout = IDLE_S
    # Headers and body go out together, and at once: a browser would wait 40 ms for the second half.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: _Http

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # any method at all is looked at by the guard first
            return self._handle
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged: URLs may have the secret in them."""

    def _handle(self) -> None:
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # the body stays unread
        verdict = judge(self.server.door, self.path, dict(self.headers.items()))
        if verdict.entry == "refused":
            self._send(Answer(f"{verdict.reason}\n".encode(), _TYPES["txt"], HTTPStatus.FORBIDDEN))
        elif self.command not in ("GET", "HEAD"):
            allow = (("Allow", "GET, HEAD"),)
            text = b"there is nothing to change here: GET and HEAD only\n"
            self._send(Answer(text, _TYPES["txt"], HTTPStatus.METHOD_NOT_ALLOWED, allow))
        elif verdict.entry == "by link" and urlsplit(self.path).path == "/":
            door = self.server.door
            cookie = f"{door.cookie}={door.token}; Path=/; HttpOnly; SameSite=Strict"
            where = (("Location", "/"), ("Set-Cookie", cookie))
            self._send(Answer(b"", _TYPES["txt"], HTTPStatus.SEE_OTHER, where))
        else:
            self._send(self._found())

    def _found(self) -> Answer:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        try:
            answer = self.server.site.find(parts.path) or self.server.routes(parts.path, query)
        except ValueError as error:
            return as_json({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        except Exception as error:  # noqa: BLE001 - the page says so, the program goes on
            text = f"{type(error).__name__}: {error}"
            return as_json({"error": text}, HTTPStatus.INTERNAL_SERVER_ERROR)
        nothing = {"error": f"there is nothing at {parts.path}"}
        return as_json(nothing, HTTPStatus.NOT_FOUND) if answer is None else answer

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        headers = {"Content-Type": answer.kind, "Content-Length": str(len(answer.body))}
        for name, value in {**headers, **_HEADERS, **dict(answer.headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
