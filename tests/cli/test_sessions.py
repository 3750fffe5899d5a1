"""The commands that look into a session from another process, and what they say if they cannot."""

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from datetime import datetime

import pytest

import heliostat as ray
from heliostat._engines.local.scheduling.scheduler import KEPT
from heliostat.cli import main
from heliostat.cli._state import _REMEMBERED
from heliostat.cli._tables import table
from heliostat.testing.clock import until
from tests.cli.command import heliostat

PROGRAM = """
import sys, time
import heliostat as ray
ray.init(num_cpus=2)
@ray.remote
def forever():
    print("first line\\nlast line", flush=True)
    time.sleep(1000)
@ray.remote
def quick(x): return x
@ray.remote
class Model:
    def say(self): print("\\x1b[2J\\x1b[31mred", file=sys.stderr)
model = Model.options(name="the model").remote()
ref = forever.remote()
kept = ray.put(bytes(1 << 21))
ray.get([quick.remote(i) for i in range(3)])
ray.get(model.say.remote())
print("ready", flush=True)
ray.get([ref, forever.remote(), forever.remote()])
"""


@contextlib.contextmanager
def running():
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        while process.stdout.readline() != "ready\n":
            pass
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.fixture(scope="module")
def driver():
    with running() as pid:
        until(
            lambda: len(asked("list", "tasks", pid=pid, filters=["state=RUNNING"])) == 2, "it runs"
        )
        yield pid


def said(*args):
    """The exit code of a command, and what it writes."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(map(str, args)))
    return code, out.getvalue(), err.getvalue()


def asked(*args, pid, filters=()):
    """What a command says to programs."""
    wanted = [word for text in filters for word in ("-f", text)]
    code, out, err = said(*args, "--pid", pid, "--json", *wanted)
    assert (code, err) == (0, "")
    return json.loads(out)


def test_status_has_the_numbers(driver):
    (status,) = asked("status", pid=driver)
    assert status["tasks"] == {"RUNNING": 2, "PENDING_NODE_ASSIGNMENT": 1}
    assert status["actors"] == {"ALIVE": 1}
    _, text, _ = said("status", "--pid", driver)
    assert "CPU: 2 of 2 in use" in text
    assert "tasks: 2 RUNNING, 1 PENDING_NODE_ASSIGNMENT" in text


def test_list_shows_rows_that_pass_the_filter(driver):
    _, text, _ = said("list", "tasks", "--pid", driver, "-f", "name=quick")
    head, *rows = text.splitlines()
    assert head.split() == ["TASK_ID", "NAME", "STATE", "TYPE", "WORKER_PID", "REASON"]
    assert len(rows) == 3
    assert all(" quick  FINISHED " in row for row in rows)
    assert len(asked("list", "tasks", pid=driver, filters=["state!=FINISHED"])) == 3
    assert len(asked("list", "tasks", pid=driver, filters=["name~Model"])) == 2
    assert said("list", "tasks", "--pid", driver, "-f", "name=nope")[1].startswith("no tasks that")


def test_list_knows_every_kind(driver):
    (actor,) = asked("list", "actors", pid=driver)
    assert (actor["class_name"], actor["name"]) == ("Model", "the model")
    largest, *_ = asked("list", "objects", pid=driver)
    assert largest["held_by"] == ["driver"]
    assert {w["runs"] for w in asked("list", "workers", pid=driver)} >= {"forever"}
    for kind in ("placement-groups", "runtime-envs", "cluster-events"):
        assert asked("list", kind, pid=driver) == []
    assert "required_resources" in asked("list", "tasks", "--detail", pid=driver)[-1]
    _, text, err = said("list", "task", "--pid", driver, "--limit", "1")
    assert (len(text.splitlines()), "the newest 1 of" in err) == (2, True)


def test_get_finds_by_the_beginning_of_an_id(driver):
    (actor,) = asked("list", "actors", pid=driver)
    found = asked("get", "actors", actor["actor_id"][:-8], pid=driver)
    assert [row["actor_id"] for row in found] == [actor["actor_id"]]
    assert "num_restarts" in said("get", "actor", actor["actor_id"], "--pid", driver)[1]
    (worker,) = asked("get", "workers", actor["pid"], pid=driver)
    assert worker["actor"] == "Model"
    code, _, err = said("get", "tasks", "zz", "--pid", driver)
    assert (code, "`heliostat list tasks` shows" in err) == (1, True)
    assert "say more" in said("get", "tasks", actor["actor_id"][:4], "--pid", driver)[2]


def test_get_finds_what_has_a_name_by_it(driver):
    (named,) = asked("get", "actors", "the model", pid=driver)
    assert named["class_name"] == "Model"
    code, _, err = said("get", "tasks", "forever", "--pid", driver)
    assert (code, "'forever' is the name of 3 tasks" in err) == (1, True)


def test_why_takes_its_process_as_the_others_do(driver):
    # Others may have sessions; process 1 has none.
    for named in ([driver], ["--pid", driver]):
        assert re.findall(r"^process (\d+),", said("why", *named)[1], re.MULTILINE) == [str(driver)]
    for named in ([1], ["--pid", 1]):
        code, out, err = said("why", *named)
        assert (code, out) == (1, "")
        assert err.startswith("heliostat why: process 1 has no session; those that have one: ")


def test_times_are_shown_as_such_and_told_to_programs_as_numbers(driver):
    row = asked("list", "tasks", "--detail", "--filter", "name=quick", pid=driver)[0]
    began = datetime.fromtimestamp(row["start_time_ms"] / 1000)
    shown = began.isoformat(" ", "milliseconds")
    text = said("get", "tasks", row["task_id"], "--pid", driver)[1]
    assert f"start_time_ms       {shown}\n" in text
    assert shown in said("list", "tasks", "--detail", "--pid", driver)[1]


def test_summary_counts(driver):
    assert asked("summary", "tasks", pid=driver)["total_tasks"] == 6
    assert asked("summary", "actors", pid=driver)["total_actors"] == 1
    assert asked("summary", "objects", pid=driver)["total_size_mb"] > 2
    _, text, _ = said("summary", "tasks", "--pid", driver)
    assert re.search(r"^quick +3$", text, re.MULTILINE)


def test_of_more_tasks_than_are_remembered_it_says_so():
    ray.init(num_cpus=1)

    @ray.remote
    def nothing():
        pass

    try:
        ray.get([nothing.remote() for _ in range(KEPT + 1)])
        pid = str(os.getpid())
        told = [said("list", "tasks", "--pid", pid), said("summary", "tasks", "--pid", pid)]
    finally:
        ray.shutdown()
    assert KEPT == _REMEMBERED
    for code, _, err in told:
        assert (code, "the newest 10,000 are remembered" in err) == (0, True)


def test_logs_are_told_as_far_as_they_are_kept_and_move_no_cursor(driver):
    rows = asked("logs", pid=driver)
    assert {row["last_line"] for row in rows} == {"last line", "\x1b[2J\x1b[31mred"}
    pid = next(row["pid"] for row in rows if row["out"] == 2)
    assert said("logs", pid, "--pid", driver)[1] == "first line\nlast line\n"
    assert said("logs", pid, "--tail", "1", "--pid", driver)[1] == "last line\n"
    model = next(row["pid"] for row in rows if row["err"])
    assert said("logs", model, "--err", "--pid", driver)[1] == "?[2J?[31mred\n"
    for number in range(10):  # a process, and not how an id begins
        code, _, err = said("logs", number, "--pid", driver)
        assert (code, "`heliostat logs` lists who has" in err) == (1, True)


def test_memory_says_who_holds_what(driver):
    memory = asked("memory", pid=driver)
    assert memory["held_by"]["driver"] > 2_000_000
    assert memory["processes"][0]["pid"] == driver
    _, text, _ = said("memory", "--limit", "1", "--pid", driver)
    assert "2.1 MB  FINISHED  shared memory" in text
    assert "--limit shows more" in text


def test_the_timeline_is_a_chrome_trace(driver, tmp_path):
    file = tmp_path / "trace.json"
    assert said("timeline", "-o", file, "--pid", driver)[0] == 0
    events = json.loads(file.read_text())
    assert [event["name"] for event in events].count("quick") == 3
    (first, _) = [event for event in events if event["name"] == "forever"]
    assert (first["ph"], first["args"]["state"]) == ("X", "RUNNING")
    assert first["dur"] > 0
    assert len(asked("timeline", pid=driver)) == len(events)
    assert "No such file" in said("timeline", "-o", tmp_path / "no" / "x", "--pid", driver)[2]


def test_every_process_tells_its_stacks(driver):
    told = {entry["pid"]: entry for entry in asked("stack", pid=driver)}
    assert "in get" in told[driver]["stack"]
    busy = [entry for entry in told.values() if entry["who"] == "forever"]
    assert len(busy) == 2
    assert all("in forever" in entry["stack"] for entry in busy)
    one = busy[0]["pid"]
    _, text, _ = said("stack", one, "--pid", driver)
    assert text.startswith(f"process {one}: forever\n")
    assert "is no part of this session" in said("stack", "1", "--pid", driver)[2]


def test_top_without_a_terminal_is_one_look(driver):
    top = asked("top", pid=driver)
    assert {row["pid"] for row in top["processes"]} > {driver}
    assert top["tasks_by_name"][0] == {"name": "forever", "state": "RUNNING", "count": 2}
    assert "CPU%" in said("top", "--pid", driver)[1]


def watched(driver, lines, columns):
    """A screen of `top` in a terminal of that size."""
    own, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "heliostat.cli",
        "top",
        "--interval",
        "0.1",
        "--pid",
        str(driver),
    ]
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while seen.count(b"\x1b[H") < 3:
            seen += os.read(own, 1 << 16)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    os.close(own)
    screen = seen.split(b"\x1b[H")[1].decode()
    return screen.replace("\x1b[K", "").replace("\x1b[J", "").splitlines()


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "1e9", "soon"])
def test_top_pauses_for_a_time_that_makes_sense(interval, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["top", "--interval", interval])
    assert ended.value.code == 2
    assert f"0.1 to 86,400 seconds, got {interval!r}" in capsys.readouterr().err


def test_top_in_a_terminal_goes_on_within_its_size(driver):
    lines = watched(driver, 5, 40)
    assert len(lines) == 4
    assert all(len(line) <= 40 for line in lines)


def test_top_in_a_terminal_that_does_not_know_its_size_is_whole(driver):
    lines = watched(driver, 0, 0)
    assert any(line.endswith("  WHO") for line in lines)
    assert any(line.endswith("  driver") for line in lines)


def test_of_two_sessions_one_has_to_be_named(driver):
    with running() as other:
        for command in (["list", "tasks"], ["memory"], ["stack"], ["top"], ["timeline"]):
            code, out, err = said(*command)
            assert (code, out) == (1, "")
            assert "choose one with --pid: " in err
            assert str(driver) in err
            assert str(other) in err
        assert {session["pid"] for session in json.loads(said("status", "--json")[1])} >= {
            driver,
            other,
        }


def test_who_has_no_session_is_told_who_has(driver):
    code, _, err = said("list", "tasks", "--pid", "1")
    assert code == 1
    assert "process 1 has no session; those that have one: " in err
    assert str(driver) in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["list", "cats"], "there are tasks, actors"),
        (["list", "tasks", "-f", "state"], "FIELD=VALUE"),
        (["list", "tasks", "-f", "nope=1"], "no field 'nope'"),
        (["list", "tasks", "--limit", "0"], "limit must be"),
        (["get", "runtime-envs", "x"], "have no names"),
        (["summary", "workers"], "there is a summary of"),
    ],
)
def test_a_command_line_without_sense_is_refused_with_what_there_is(driver, words, says):
    done = heliostat(*words, "--pid", driver)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_reader_that_goes_away_is_no_error(driver):
    script = (
        f"{sys.executable} -m heliostat.cli list tasks --json --limit 9 --pid {driver} | head -1"
    )
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[\n", "")


def test_without_a_session_it_says_what_to_do(tmp_path):
    done = heliostat("list", "tasks", "--pid", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_the_widest_columns_give_way_in_a_narrow_terminal():
    rows = [{"id": "1" * 30, "name": "f", "reason": "waits for " * 9}]
    lines = table(rows, ["id", "name", "reason"], 40).splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert "…" in lines[1]
