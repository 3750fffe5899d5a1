"""Progress in real pseudo-terminals and real pipes, seen as a terminal shows it."""

import codecs
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from heliostat.util import progress
from tests.util.screen import Screen

PYTHON = [sys.executable, "-c"]
HEAD = "import time, threading, os, signal, sys\nfrom heliostat.util import progress\n"


class Terminal:
    """A program in a pseudo-terminal, and the screen that a person would see."""

    def __init__(self, program, columns=100, rows=24, **environment):
        self.screen = Screen(columns, rows)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._undrawn = ""
        self.raw = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.environ.update(TERM="xterm", PYTHONIOENCODING="utf-8", **environment)
            os.execv(sys.executable, [*PYTHON, HEAD + program])

    def text(self):
        return "\n".join(self.screen.lines()).rstrip()

    def read(self, until=None, timeout_s=20):
        """Follow the program to its end, or until the screen shows `until`."""
        deadline = time.monotonic() + timeout_s
        while until is None or until not in self.text():
            assert time.monotonic() < deadline, self.text()
            if not select.select([self._fd], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                break
            if not data:
                break
            self.raw += data
            self._draw(self._decode(data))
        return self.text()

    def _draw(self, text):
        # An escape sequence may arrive in two pieces.
        whole, escape, rest = (self._undrawn + text).rpartition("\x1b")
        cut = bool(escape) and not any(char.isalpha() for char in rest)
        self._undrawn = escape + rest if cut else ""
        self.screen.feed(whole if cut else whole + escape + rest)

    def close(self):
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def in_pipe(program, **environment):
    return subprocess.run(
        [*PYTHON, HEAD + program],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


def test_a_live_line_turns_into_one_that_stays():
    terminal = Terminal(
        "with progress.line('Read', total=10) as line:\n"
        "    line.update(4)\n"
        "    sys.stdin.readline()\n"
        "    line.update(10)\n"
    )
    assert "40%  4 of 10 rows" in terminal.read(until="40%")
    assert terminal.screen.column == 0
    os.write(terminal._fd, b"\n")
    assert terminal.read().splitlines()[-1].startswith("✓  Read  10 rows")
    assert terminal.close() == 0


def test_several_lines_from_several_threads_are_live_at_once():
    terminal = Terminal(
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
        "go = threading.Event()\n"
        "def work(name):\n"
        "    with progress.line(name) as line:\n"
        "        line.update(7)\n"
        "        go.wait()\n"
        "threads = [threading.Thread(target=work, args=(name,)) for name in ('one', 'two', 'three')]\n"
        "[t.start() for t in threads]\n"
        "signal.sigwait([signal.SIGUSR1])\n"
        "go.set()\n"
        "[t.join() for t in threads]\n"
        "print('end')\n"
    )
    text = terminal.read(until="three")
    assert all(name in text for name in ("one", "two", "three"))
    os.kill(terminal.pid, signal.SIGUSR1)
    rows = [row for row in terminal.read().splitlines() if row]
    assert sorted(row.split()[:2] for row in rows[:3]) == [
        ["✓", "one"],
        ["✓", "three"],
        ["✓", "two"],
    ]
    assert rows[3] == "end"
    assert terminal.close() == 0


def test_what_the_user_prints_goes_above_the_live_lines_and_is_whole():
    terminal = Terminal(
        "with progress.line('Read') as line:\n"
        "    for n in range(60):\n"
        "        print('row', n)\n"
        "        print('log', n, file=sys.stderr)\n"
        "        time.sleep(0.01)\n"
        "    print('half', end='')\n"
        "print(' and half')\n",
        rows=200,
    )
    rows = terminal.read().splitlines()
    assert [row for row in rows if row.startswith(("row", "log"))] == [
        f"{word} {n}" for n in range(60) for word in ("row", "log")
    ]
    assert rows[-2].startswith("✓  Read")
    assert rows[-1] == "half and half"
    assert terminal.close() == 0


@pytest.mark.parametrize("columns", [8, 20, 45])
def test_a_narrow_terminal_has_one_row_per_line(columns):
    terminal = Terminal(
        "with progress.line('A long name of a stage -> and another', total=10**6) as a:\n"
        "    with progress.line('Second', 'rounds') as b:\n"
        "        for n in range(10):\n"
        "            a.update(n * 1000, note='a note')\n"
        "            b.update(n)\n"
        "            time.sleep(0.1)\n",
        columns=columns,
    )
    rows = [row for row in terminal.read().splitlines() if row]
    assert len(rows) == 2
    assert [row[0] for row in rows] == ["✓", "✓"]
    assert terminal.close() == 0


def test_an_exception_marks_the_line_and_passes():
    terminal = Terminal(
        "with progress.line('Read') as line:\n"
        "    line.update(5)\n"
        "    time.sleep(0.5)\n"
        "    raise KeyError('x')\n"
    )
    text = terminal.read()
    assert "✗  Read  5 rows" in text
    assert "failed with KeyError" in text
    assert text.endswith("KeyError: 'x'")
    assert terminal.close() == 1


def test_ctrl_c_stops_the_line_and_leaves_the_terminal_in_order():
    terminal = Terminal(
        "with progress.line('Read') as line:\n    line.update(5)\n    time.sleep(30)\n"
    )
    terminal.read(until="5 rows")
    os.write(terminal._fd, b"\x03")
    text = terminal.read()
    assert "✗  Read  5 rows" in text
    assert "stopped" in text
    assert "KeyboardInterrupt" in text
    assert b"\x1b[?25l" not in terminal.raw
    assert terminal.close() in (-signal.SIGINT, 130)


def test_the_cursor_is_never_hidden_so_a_killed_program_leaves_it():
    terminal = Terminal(
        "with progress.line('Read') as line:\n    line.update(5)\n    time.sleep(30)\n"
    )
    terminal.read(until="5 rows")
    os.kill(terminal.pid, signal.SIGKILL)
    terminal.read()
    assert b"\x1b[?25l" not in terminal.raw
    assert terminal.close() == -signal.SIGKILL


def test_lines_that_are_open_at_exit_are_ended():
    terminal = Terminal(
        "line = progress.line('Read').__enter__()\nline.update(5)\ntime.sleep(0.5)\n"
    )
    assert terminal.read().splitlines()[-1].startswith("✗  Read  5 rows")
    assert terminal.close() == 0


def test_streams_are_given_back():
    program = (
        "before = sys.stdout, sys.stderr\n"
        "with progress.line('Read') as line:\n"
        "    assert sys.stdout is not before[0]\n"
        "    assert sys.stdout.isatty() and sys.stdout.fileno() == 1\n"
        "    sys.stdout.writelines(['a', 'b'])\n"
        "    assert sys.stdout.encoding.lower() == 'utf-8'\n"
        "assert (sys.stdout, sys.stderr) == before\n"
        "assert threading.active_count() == 1\n"
    )
    terminal = Terminal(program)
    assert terminal.read() == "ab"
    assert terminal.close() == 0


def test_a_child_made_by_fork_does_not_paint():
    terminal = Terminal(
        "with progress.line('Read') as line:\n"
        "    time.sleep(0.5)\n"
        "    if os.fork() == 0:\n"
        "        said = f'from the child {sys.stdout is sys.__stdout__}'\n"
        "        print(said, flush=True)\n"  # at once, or the parent may paint in between
        "        assert threading.active_count() == 1\n"
        "        os._exit(0)\n"
        "    assert os.wait()[1] == 0\n"
    )
    terminal.read()
    assert terminal.close() == 0
    # Not on the screen: the parent, which paints on, may have painted over it.
    assert b"from the child True" in terminal.raw


def test_a_pipe_gets_plain_lines_on_stderr_only():
    done = in_pipe(
        "with progress.line('Read', total=10) as line:\n"
        "    for n in range(12):\n"
        "        line.update(min(n, 10))\n"
        "        time.sleep(0.1)\n"
        "print('end')\n"
    )
    first, *_, last = done.stderr.splitlines()
    assert first.startswith("Read: ")
    assert " of 10 rows (" in first
    assert last.startswith("Read: 10 rows in ")
    assert "\x1b" not in done.stderr
    assert done.stdout == "end\n"


@pytest.mark.parametrize("variable", [{"HELIOSTAT_WORKER": "1"}, {"HELIOSTAT_PROGRESS": "0"}])
def test_workers_and_the_switch_are_silent(variable):
    program = (
        "with progress.line('Read') as line:\n"
        "    line.update(5)\n"
        "    assert threading.active_count() == 1\n"
        "    time.sleep(0.5)\n"
    )
    done = in_pipe(program, **variable)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_stream_is_no_error(unbuffered):
    done = in_pipe(
        "os.close(2)\nwith progress.line('Read') as line:\n    time.sleep(0.5)\nprint('end')\n",
        PYTHONUNBUFFERED=unbuffered,
    )
    assert (done.returncode, done.stdout) == (0, "end\n")


class Plain:
    """The least that an update could do: keep what it is told."""

    def update(self, done, total=None, note=""):
        self.state = (done, total, note)


@pytest.mark.alone
def test_an_update_costs_little_more_than_keeping_its_arguments():
    from heliostat.util import progress

    plain = Plain()
    with progress.line("Read") as line:
        pairs = [(_time_of_updates(line), _time_of_updates(plain)) for _ in range(7)]
    assert min(t for t, _ in pairs) < 4 * min(t for _, t in pairs)


def _time_of_updates(line, count=10_000):
    started = time.perf_counter()
    for n in range(count):
        line.update(n)
    return (time.perf_counter() - started) / count


def test_a_ledger_that_nobody_looks_at_keeps_nothing(monkeypatch):
    monkeypatch.setattr(progress.Ledger, "kept_everywhere", False)
    ledger = progress.Ledger(kept=2)
    with ledger.entry(lambda over: {"over": over}):
        pass
    assert ledger.rows() == []


def test_a_ledger_shows_what_runs_and_the_last_that_ended(monkeypatch):
    monkeypatch.setattr(progress.Ledger, "kept_everywhere", True)
    ledger = progress.Ledger(kept=2)
    for name in "abc":
        with ledger.entry(lambda over, name=name: {"name": name, "over": over}):
            assert (ledger.rows()[-1]["name"], ledger.rows()[-1]["over"]) == (name, False)
    assert [(row["name"], row["over"]) for row in ledger.rows()] == [("b", True), ("c", True)]
