"""What holds for every verb: it answers programs, too, and bad input has a message and a code."""

import argparse
import json

import pytest

from heliostat import __version__
from heliostat.cli import _parser, main
from tests.cli.command import heliostat, run_script


def verbs(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()):
    """Each verb that does something, with its parser."""
    nested = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not nested:
        yield path, parser
    for action in nested:
        for name, below in action.choices.items():
            yield from verbs(below, (*path, name))


VERBS = dict(verbs(_parser()))
# What the issue of the command line asks for, and what was added.
ASKED = {
    ("run",), ("demo",), ("status",), ("list",), ("get",), ("summary",), ("why",), ("logs",),
    ("memory",), ("timeline",), ("stack",), ("top",), ("job", "submit"), ("job", "status"),
    ("job", "logs"), ("job", "stop"), ("job", "list"), ("job", "delete"),
    ("serve", "run"), ("serve", "start"),
    ("serve", "build"), ("serve", "deploy"), ("serve", "status"), ("serve", "config"),
    ("serve", "shutdown"), ("data", "explain"), ("tune", "results"), ("tune", "gc"),
    ("train", "results"), ("dashboard",), ("report",), ("doctor",), ("check",), ("debug",), ("deploy",),
}  # fmt: skip
# Command lines that ask for what is not there; what each must say, and its code.
WRONG = {
    ("run", "no-such.py"): ("no-such.py", 2),
    ("run", "-m", "no.such"): ("no.such", 2),
    ("status", "--pid", "1"): ("process 1 has no session", 1),
    ("list", "things"): ("tasks, actors", 2),
    ("list", "tasks", "--pid", "1"): ("process 1", 1),
    ("get", "tasks", "x", "--pid", "1"): ("process 1", 1),
    ("summary", "tasks", "--pid", "1"): ("process 1", 1),
    ("logs", "--pid", "1"): ("process 1", 1),
    ("memory", "--pid", "1"): ("process 1", 1),
    ("timeline", "--pid", "1"): ("process 1", 1),
    ("stack", "--pid", "1"): ("process 1", 1),
    ("top", "--pid", "1"): ("process 1", 1),
    ("job", "submit"): ("COMMAND", 2),
    ("job", "status", "nothing"): ("no job 'nothing'", 1),
    ("job", "logs", "nothing"): ("no job 'nothing'", 1),
    ("job", "stop", "nothing"): ("no job 'nothing'", 1),
    ("job", "delete", "nothing"): ("no job 'nothing'", 1),
    ("serve", "run", "no_such:app", "--http-port", "0", "--rest-port", "0"): ("no_such", 2),
    ("serve", "build", "no_such:app"): ("no_such", 2),
    ("serve", "deploy", "no-such.yaml"): ("no-such.yaml", 2),
    ("serve", "status", "-a", "http://127.0.0.1:9"): ("no Serve answers", 2),
    ("serve", "config", "-a", "nonsense"): ("nonsense", 2),
    ("serve", "shutdown", "-y", "-a", "http://127.0.0.1:9"): ("no Serve answers", 2),
    ("data", "explain", "no-such.py"): ("no-such.py", 2),
    ("tune", "results", "/no-such"): ("/no-such", 1),
    ("tune", "gc", "/no-such"): ("/no-such", 1),
    ("train", "results", "/no-such"): ("/no-such", 1),
    ("dashboard", "no-such"): ("no", 1),
    ("report", "no-such"): ("no", 1),
    ("check", "no-such.py"): ("no-such.py", 2),
    ("debug", "x"): ("invalid int", 2),
    ("debug", "--pid", "1"): ("no breakpoint waits in process 1", 1),
    ("why", "--pid", "1"): ("process 1 has no session", 1),
}
# They take the whole process: `ray`, signals, a session.
TAKES_ALL = {("serve", "run"), ("serve", "build"), ("data", "explain")}


def test_every_verb_that_was_asked_for_is_there():
    assert set(VERBS) == ASKED


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_an_answer_for_programs(verb):
    assert "--json" in VERBS[verb]._option_string_actions
    assert VERBS[verb].format_help()


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_what_is_not_there_is_named_and_has_a_code(words, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    said, code = WRONG[words]
    if words[:2] in TAKES_ALL or words[0] == "run":
        done = heliostat(*words)
        got, out, err = done.returncode, done.stdout, done.stderr
    else:
        try:
            got = main(words)
        except SystemExit as stop:  # argparse's own
            got = stop.code
        out, err = capsys.readouterr()
    assert said in err
    assert got == code
    assert "Traceback" not in err
    assert out == ""


def test_every_verb_has_a_wrong_command_line_here():
    without = {
        ("demo",),
        ("serve", "start"),
        ("doctor",),
        ("job", "list"),
        ("deploy",),
    }  # they take nothing
    tried = {words[: len(verb)] for words in WRONG for verb in VERBS if words[: len(verb)] == verb}
    assert tried == ASKED - without


def test_python_m_heliostat_is_the_command():
    done = heliostat("--version", program="heliostat")
    assert (done.returncode, done.stdout) == (0, f"heliostat {__version__}\n")


@pytest.mark.parametrize(
    ("statement", "code", "says"),
    [("print(1)", 0, None), ("sys.exit(3)", 3, None), ("sys.exit('x')", 1, None),
     ("1 / 0", 1, "ZeroDivisionError")],
)  # fmt: skip
def test_run_tells_programs_how_it_ended(tmp_path, statement, code, says):
    done = run_script(tmp_path, f"import sys\n{statement}\n", options=["--json"])
    assert done.returncode == code
    line = next(line for line in done.stderr.splitlines() if line.startswith("{"))
    told = json.loads(line)
    assert (told["exit_code"], told["program"]) == (code, str(tmp_path / "script.py"))
    assert told["seconds"] >= 0
    assert says is None if told["traceback"] is None else says in told["traceback"]


def test_grafana_s_dashboard_is_written(capsys):
    assert main(["dashboard", "--grafana"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Heliostat"
