"""Pages are read over HTTP, from any server, and again where it falters."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from heliostat.data.datasource import retry

pytest.importorskip("aiohttp")

# In a process of its own: fsspec keeps a thread with an event loop for as long as it lives.
PAGES = """
import http.server, json, sys, threading
import heliostat as ray
from heliostat.data.datasource import retry
from heliostat.data.expressions import download

retry.FIRST_DELAY_S = 0.001
STATUS, REQUESTS = {}, []  # the number of a request, and what it is answered with


class Pages(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, well):
        REQUESTS.append(self.command)
        status = STATUS.get(len(REQUESTS))
        if status == 0:
            self.close_connection = True
        elif status:
            self.send_error(status)
        else:
            well()

    def do_HEAD(self):
        self.answer(super().do_HEAD)

    def do_GET(self):
        self.answer(super().do_GET)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
server.handle_error = lambda *args: None  # of clients that have seen enough
threading.Thread(target=server.serve_forever, daemon=True).start()
ray.init(engine="inline")
url = f"http://127.0.0.1:{server.server_port}/"


def act(what, **status):
    REQUESTS.clear()
    STATUS.clear()
    STATUS.update({int(number[1:]): code for number, code in status.items()})
    try:
        return what()
    except Exception as error:
        return [type(error).__name__, str(error).replace(url, "")]


def text(name="a.txt"):
    return [row["text"] for row in ray.data.read_text(url + name).take_all()]


"""


def answers(folder, program):
    done = subprocess.run(
        [sys.executable, "-c", PAGES + program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    return tmp_path


def test_a_page_is_read_with_few_requests(folder):
    assert answers(folder, "print(json.dumps([act(text), REQUESTS]))") == [
        [["one", "two"], ["HEAD", "HEAD", "GET"]]
    ]


def test_what_is_not_there_is_said_to_be_missing_and_nothing_else_is(folder):
    program = """
print(json.dumps(act(lambda: text("nothing"))))
print(json.dumps(act(text, n1=403, n2=403)))
print(json.dumps(act(text, **{f"n{number}": 503 for number in range(1, 99)})))
"""
    missing, forbidden, broken = answers(folder, program)
    assert missing == ["FileNotFoundError", "no such file or directory: 'nothing'"]
    assert forbidden[0] == "PermissionError"
    assert "answered 403" in forbidden[1]
    assert broken[0] == "OSError"
    assert "answered 503" in broken[1]


def test_a_server_that_falters_is_asked_again(folder):
    program = """
for first in range(1, 6):
    for status in (0, 429, 503):
        print(json.dumps(act(text, **{f"n{first}": status, f"n{first + 1}": status})))
"""
    assert answers(folder, program) == [["one", "two"]] * 15


def test_large_files_of_a_server_that_gives_no_parts_are_read(folder):
    rows = pa.table({"a": [f"{number:0120d}" for number in range(220_000)]})
    pq.write_table(rows, folder / "a.parquet", compression="none", use_dictionary=False)
    pa.csv.write_csv(rows, folder / "a.csv")
    program = """
print(json.dumps(act(lambda: ray.data.read_parquet(url + "a.parquet").max("a"))))
print(json.dumps(act(lambda: ray.data.read_csv(url + "a.csv").count())))
"""
    assert (folder / "a.csv").stat().st_size > 3 * retry.PIECE_BYTES
    assert answers(folder, program) == [f"{219_999:0120d}", 220_000]


def test_a_file_is_downloaded_by_an_expression(folder):
    program = """
uris = [url + "a.txt", url + "nothing", None, "a.txt"]
ds = ray.data.from_items([{"uri": uri} for uri in uris]).with_column("page", download("uri"))
print(json.dumps(act(lambda: [row["page"] and row["page"].decode() for row in ds.take_all()])))
ds = ds.limit(1)
print(json.dumps(act(lambda: [row["page"].decode() for row in ds.take_all()], n1=503, n2=503)))
"""
    whole = "one\ntwo\n"
    assert answers(folder, program) == [[whole, None, None, whole], [whole]]
