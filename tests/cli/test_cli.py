"""The command line itself."""

import pytest

from heliostat import __version__
from heliostat.cli import main
from tests.cli.command import heliostat


def test_version_is_said_without_loading_any_library():
    done = heliostat("--version", PYTHONPROFILEIMPORTTIME="1")
    assert (done.returncode, done.stdout) == (0, f"heliostat {__version__}\n")
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "heliostat.cli" in loaded
    assert not loaded & {"asyncio", "logging", "numpy", "pyarrow", "pandas", "heliostat.data"}


def test_help_names_the_commands():
    done = heliostat("--help")
    assert done.returncode == 0
    for command in ("run", "demo"):
        assert command in done.stdout


def test_no_command_is_an_error():
    done = heliostat()
    assert done.returncode == 2
    assert "COMMAND" in done.stderr


def test_an_option_that_a_command_has_not_is_told_with_those_it_has(capsys):
    for words in (["top", "-n", "1"], ["job", "list", "-n", "1"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        told = capsys.readouterr().err
        assert told.startswith(f"usage: heliostat {words[0]} ")
        assert "unrecognized arguments: -n" in told


def test_main_returns_its_code(capsys):
    assert main(["run", "no-such-file.py"]) == 2
    assert "no-such-file.py" in capsys.readouterr().err
