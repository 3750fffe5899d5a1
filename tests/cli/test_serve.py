"""`heliostat serve` as people run it: a process that serves, and others that talk to it."""

import contextlib
import http.server
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import ClassVar

import pytest
import yaml

from heliostat.cli import _serve, main
from heliostat.testing.clock import until
from tests.cli.command import heliostat

CODE = """
from ray import serve

@serve.deployment
class Word:
    def __init__(self, word): self.word = word
    async def __call__(self, request): return self.word

def build(args): return Word.bind(args.get("word", "WORD"))
app = Word.bind("WORD")
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path="/"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read().decode()


def write(folder, word, name="words"):
    (folder / f"{name}.py").write_text(CODE.replace("WORD", word))


@contextlib.contextmanager
def running(folder, *args, begun="Serve runs"):
    """`heliostat serve ...` until the end of the block; its HTTP and REST ports."""
    http, rest = free_port(), free_port()
    command = [sys.executable, "-m", "heliostat.cli", "serve", *args]
    ports = ["--http-port", str(http), "--rest-port", str(rest)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "HELIOSTAT_NUM_CPUS": "4"}
    process = subprocess.Popen(
        [*command, *ports], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        for line in process.stderr:
            if begun in line:
                break
        yield http, rest, process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_an_import_path_runs_with_arguments_until_ctrl_c(tmp_path):
    write(tmp_path, "unused")
    with running(tmp_path, "run", "words:build", "word=hi") as (http, _, process):
        assert get(http) == "hi"
    assert process.returncode == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", http)) != 0


def test_sigterm_ends_it_as_ctrl_c_does(tmp_path):
    write(tmp_path, "hi")
    with running(tmp_path, "run", "words:app") as (http, _, process):
        assert get(http) == "hi"
        process.terminate()
        assert process.wait(timeout=60) == 0


def test_it_is_healthy_when_its_application_runs_and_no_sooner(tmp_path):
    write(tmp_path, "hi")
    waits = "import os, sys, time\n        print('begins', file=sys.stderr, flush=True)\n"
    waits += "        while not os.path.exists('go'): time.sleep(0.01)\n        self.word = word"
    (tmp_path / "words.py").write_text(
        (tmp_path / "words.py").read_text().replace(" self.word = word", f"\n        {waits}")
    )
    with running(tmp_path, "run", "words:app", begun="begins") as (http, *_):
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get(http, "/-/healthz")
        (tmp_path / "go").touch()
        until(lambda: is_healthy(http), "it is healthy", 30)
        assert get(http) == get(http, "/x") == "hi"
        assert get(http, "/-/healthz") == "success"


def is_healthy(port):
    with contextlib.suppress(urllib.error.HTTPError):
        return get(port, "/-/healthz") == "success"
    return False


def test_files_that_change_are_deployed_again_and_wrong_ones_are_not(tmp_path):
    (tmp_path / "part.py").write_text("WORD = 'one'")
    (tmp_path / "whole.py").write_text(f"from part import WORD\n{CODE}".replace('"WORD")', "WORD)"))
    with running(tmp_path, "run", "--reload", "whole:app") as (http, _, process):
        assert get(http) == "one"
        (tmp_path / "part.py").write_text("WORD = 'three'")
        assert next(line for line in process.stderr if "Serve runs what" in line)
        assert get(http) == "three"
        (tmp_path / "part.py").write_text("WORD = ")
        assert next(line for line in process.stderr if "former version goes on" in line)
        assert get(http) == "three"
    assert process.returncode == 0


def test_a_file_that_changes_while_it_is_first_imported_is_deployed_again(tmp_path):
    (tmp_path / "part.py").write_text("WORD = 'one'")
    (tmp_path / "whole.py").write_text(
        "from pathlib import Path\nfrom part import WORD\n"
        "if WORD == 'one':\n    Path(__file__).with_name('part.py').write_text('WORD = \"three\"')\n"
        + CODE.replace('"WORD")', "WORD)")
    )
    with running(tmp_path, "run", "--reload", "whole:app") as (http, _, process):
        assert next(line for line in process.stderr if "Serve runs what" in line)
        assert get(http) == "three"


def test_a_config_is_deployed_changed_shown_and_shut_down(tmp_path):
    write(tmp_path, "one")
    config = {"applications": [{"import_path": "words:app", "name": "w", "route_prefix": "/w"}]}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    with running(tmp_path, "start") as (http, rest, process):

        def ask(*args):
            address = ("-a", f"http://127.0.0.1:{rest}")
            return heliostat("serve", *args, *address, XDG_RUNTIME_DIR=str(tmp_path))

        done = ask("deploy", file)
        assert done.returncode == 0, done.stderr
        assert get(http, "/w") == "one"
        write(tmp_path, "three")  # what the file says now is what runs
        config["applications"][0]["deployments"] = [{"name": "Word", "num_replicas": 2}]
        file.write_text(yaml.safe_dump(config))
        assert ask("deploy", file).returncode == 0
        assert get(http, "/w") == "three"
        status = yaml.safe_load(ask("status").stdout)["applications"]["w"]
        assert status["status"] == "RUNNING"
        assert status["deployments"]["Word"]["replica_states"]["RUNNING"] == 2
        shown = yaml.safe_load(ask("config", "-n", "w").stdout)
        assert shown[0]["deployments"] == [{"name": "Word", "num_replicas": 2}]
        elsewhere = free_port()
        file.write_text(yaml.safe_dump({**config, "http_options": {"port": elsewhere}}))
        told = ask("deploy", file).stdout.splitlines()
        assert told[1:] == [f"http_options.port stays {http} until Serve is started anew"]
        wrong = {"applications": [{"import_path": "words:nothing"}]}
        file.write_text(yaml.safe_dump(wrong))
        refused = ask("deploy", file)
        assert (refused.returncode, "has no 'nothing'" in refused.stderr) == (2, True)
        file.write_text("{}")  # what runs does not end because a file says nothing
        assert "has no 'applications'" in ask("deploy", file).stderr
        assert get(http, "/w") == "three"
        for headers, code in (({}, 401), ({"origin": "http://evil.example"}, 403)):
            url = f"http://127.0.0.1:{rest}/api/serve/applications/"
            request = urllib.request.Request(url, headers=headers)
            with pytest.raises(urllib.error.HTTPError) as error:
                urllib.request.urlopen(request, timeout=30)
            assert error.value.code == code
            error.value.close()
        assert ask("shutdown", "-y").returncode == 0
        assert process.wait(timeout=30) == 0


def test_ctrl_c_at_a_question_is_no():
    own, theirs = pty.openpty()
    command = [sys.executable, "-m", "heliostat.cli", "serve", "shutdown"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(own, 1 << 16)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert os.read(own, 1 << 16) == b"\r\n"
    os.close(own)


def test_build_writes_a_file_that_run_takes(tmp_path):
    write(tmp_path, "built")
    done = heliostat("serve", "build", "words:app", "-o", "out.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    built = yaml.safe_load((tmp_path / "out.yaml").read_text())
    assert built["applications"][0]["deployments"] == [{"name": "Word", "num_replicas": 1}]
    with running(tmp_path, "run", "out.yaml") as (http, _, _process):
        assert get(http) == "built"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("run", "no_such:app"), "there is no module 'no_such'"),
        (("run", "missing.yaml"), "missing.yaml: No such file"),
        (("run", "list.yaml"), "list.yaml must be a mapping with 'applications' in it, got ['a']"),
        (("run", "words:app", "oops"), "KEY=VALUE, got 'oops'"),
        (("run", "words:app", "a=1"), "takes no args"),
        (("run", "words"), "must be 'module:name'"),
        (("build", "words:CODE"), "has no 'CODE'"),
        (("status", "-a", "http://127.0.0.1:1"), "heliostat serve start"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(tmp_path, args, words):
    write(tmp_path, "x")
    (tmp_path / "list.yaml").write_text("- a\n")
    rest = ("--rest-port", free_port(), "--http-port", free_port()) if args[0] == "run" else ()
    done = heliostat("serve", *args, *rest, cwd=tmp_path, XDG_RUNTIME_DIR=str(tmp_path))
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert json.dumps(done.stdout) == '""'


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    write(tmp_path, "x")
    done = heliostat("serve", "build", "words:app", "-o", "no/such.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        1, "heliostat serve: no/such.yaml: No such file or directory\n",
    )  # fmt: skip


class Stranger(http.server.BaseHTTPRequestHandler):
    """Something else at the address: what it is asked is the test's, as is what it says."""

    answer = b""
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.headers["authorization"])
        self.wfile.write(self.answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def stranger():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        Stranger.asked.clear()
        yield server.server_port
        server.shutdown()
        thread.join()


def status(address, capsys, monkeypatch, folder):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    code = main(["serve", "status", "-a", address])
    shown = capsys.readouterr()
    return code, shown.err


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\n<html>",
        b"HTTP/1.0 200 OK\r\n\r\n[1]",
        b'HTTP/1.0 200 OK\r\n\r\n{"applications": {}}',
        b"HTTP/1.0 404 Not Found\r\n\r\n<html>",
        b"HTTP/1.0 404 Not Found\r\n\r\n[1]",
        b"HTTP/1.0 302 Found\r\nlocation: ftp://there\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
)
def test_an_answer_that_is_not_serves_names_the_address(
    answer, stranger, capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr(Stranger, "answer", answer)
    address = f"http://127.0.0.1:{stranger}"
    code, told = status(address, capsys, monkeypatch, tmp_path)
    assert (code, f"no Serve answers at {address} " in told) == (2, True), told
    assert "`heliostat dashboard`" in told  # for what a program runs itself, which has no REST


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1", "--address is http://HOST:PORT"),
        ("http://127.0.0.1:a", "--address is http://HOST:PORT"),
        ("file://127.0.0.1:80", "--address is http://HOST:PORT"),
        ("http://a b:80", "no Serve answers at http://a b:80"),
    ],
)
def test_what_is_no_address_is_told(address, words, capsys, monkeypatch, tmp_path):
    code, told = status(address, capsys, monkeypatch, tmp_path)
    assert (code, words in told) == (2, True), told


def test_silence_is_told(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(_serve, "_ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        code, told = status(address, capsys, monkeypatch, tmp_path)
    assert (code, f"no Serve answers at {address}" in told) == (2, True), told


def test_the_token_of_this_machine_stays_on_it(stranger, capsys, monkeypatch, tmp_path):
    (tmp_path / f"serve-{stranger}.token").write_text("secret")
    for host in ("127.0.0.1", "localhost", "0.0.0.0"):  # the last for a machine elsewhere
        status(f"http://{host}:{stranger}", capsys, monkeypatch, tmp_path)
    assert Stranger.asked == ["Bearer secret", "Bearer secret", "Bearer "]
    monkeypatch.setenv("RAY_AUTH_TOKEN", "theirs")
    status(f"http://0.0.0.0:{stranger}", capsys, monkeypatch, tmp_path)
    assert Stranger.asked[-1] == "Bearer theirs"
