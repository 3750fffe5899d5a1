"""JSON echo over HTTP: one Serve replica against bare uvicorn + FastAPI, in one run.

    python -m benchmarks.serve_echo [--seconds 2] [--rounds 2] [--connections 1 16 64]

The load comes from `wrk` where it is installed, else from a small asyncio client (which is itself the limit at
many connections).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ratios import Row, show

BODY = b'{"name": "x", "values": [1, 2, 3, 4.5]}'

FASTAPI = """
from fastapi import FastAPI
app = FastAPI()

@app.post("/")
async def echo(body: dict): return body
"""

SERVE = """
import sys, time
import heliostat as ray
from heliostat import serve

@serve.deployment(max_ongoing_requests=100)
class Echo:
    async def __call__(self, request): return await request.json()

serve.start(http_options={"port": int(sys.argv[1])})
serve.run(Echo.bind())
sys.stdin.read()
serve.shutdown()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_up(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(url, BODY, _JSON), timeout=5).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


_JSON = {"content-type": "application/json"}


@contextlib.contextmanager
def server(code: str, *args: str) -> Iterator[str]:
    """A server in a process of its own; yields its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "program.py").write_text(code)
        command = [part.format(port=port) for part in args]
        process = subprocess.Popen([sys.executable, *command], cwd=folder, stdin=subprocess.PIPE)
        try:
            url = f"http://127.0.0.1:{port}/"
            until_up(url)
            yield url
        finally:
            assert process.stdin is not None
            process.stdin.close()
            if "-m" in args:
                process.terminate()
            process.wait(30)


def wrk(url: str, connections: int, seconds: float) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method='POST'\nwrk.body='{BODY.decode()}'\n")
        script.write("wrk.headers['Content-Type']='application/json'\n")
        script.flush()
        output = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", script.name, url],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert rate is not None, output
    return float(rate[1])


async def asyncio_load(url: str, connections: int, seconds: float) -> float:
    port = int(url.rsplit(":", 1)[1].strip("/"))
    head = f"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}"
    request, done, deadline = head.encode() + b"\r\n\r\n" + BODY, 0, time.perf_counter() + seconds

    async def one() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < deadline:
            writer.write(request)
            headers = await reader.readuntil(b"\r\n\r\n")
            assert headers.startswith(b"HTTP/1.1 200"), headers
            length = re.search(rb"content-length: (\d+)", headers)
            assert length is not None
            await reader.readexactly(int(length[1]))
            done += 1
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return done / seconds


def load(url: str, connections: int, seconds: float) -> float:
    if shutil.which("wrk"):
        return wrk(url, connections, seconds)
    return asyncio.run(asyncio_load(url, connections, seconds))


def main() -> None:
    """Run the servers beside each other, ask them in turns, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    options = parser.parse_args()
    uvicorn = ("-m", "uvicorn", "program:app", "--port", "{port}", "--log-level", "error")
    rows = []
    with (
        server(FASTAPI, *uvicorn, "--no-access-log") as bare,
        server(SERVE, "program.py", "{port}") as ours,
    ):
        for count in options.connections:
            rates = [
                (load(ours, count, options.seconds), load(bare, count, options.seconds))
                for _ in range(options.rounds)
            ]
            mine, theirs = zip(*rates, strict=True)
            rows.append(Row(f"JSON echo, {count} connections", "/s", "more", mine, theirs, 0.8))
    show(rows, "uvicorn+FastAPI")


if __name__ == "__main__":
    main()
