"""`heliostat run`: a program runs as under `python`, and `ray` is Heliostat."""

import os
import signal
import subprocess
import sys

import pytest

from tests.cli.command import heliostat, run_script


def test_a_script_is_main_with_its_own_arguments_and_path(tmp_path):
    (tmp_path / "beside.py").write_text("NAME = 'beside'\n")
    done = run_script(
        tmp_path,
        """
        import sys, os
        import beside, ray, heliostat
        assert ray is heliostat
        assert __name__ == "__main__" and sys.modules["__main__"].__dict__ is globals()
        assert __file__ == os.path.abspath("script.py")
        assert __spec__ is None and __package__ is None
        assert sys.path[0] == os.path.dirname(__file__)
        print(sys.argv[1:], beside.NAME)
        """,
        "--flag",
        "-m",
        "a b",
        "--",
        "--version",
    )
    assert done.stderr == ""
    assert done.stdout == "['--flag', '-m', 'a b', '--', '--version'] beside\n"
    assert done.returncode == 0


def test_a_module_runs_with_m(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "__main__.py").write_text(
        "import sys; from package import part; print(sys.argv[1:], __package__, __spec__.name)\n"
    )
    (tmp_path / "package" / "part.py").write_text("print(__name__)\n")
    whole = heliostat("run", "-m", "package", "x", cwd=tmp_path)
    assert whole.stdout == "package.part\n['x'] package package.__main__\n", whole.stderr
    part = heliostat("run", "-m", "package.part", cwd=tmp_path)
    assert part.stdout == "__main__\n", part.stderr


@pytest.mark.parametrize(
    ("statement", "code"),
    [("sys.exit(7)", 7), ("sys.exit()", 0), ("sys.exit('gone')", 1), ("pass", 0), ("1 / 0", 1)],
)
def test_the_exit_code_is_the_program_s(tmp_path, statement, code):
    assert run_script(tmp_path, f"import sys\n{statement}\n").returncode == code


def test_globals_outlive_the_last_line(tmp_path):
    done = run_script(
        tmp_path,
        """
        import atexit, threading, time
        WORDS = "still here"
        atexit.register(lambda: print(WORDS))
        def later():
            threading.main_thread().join()
            print(WORDS)
        threading.Thread(target=later).start()
        """,
    )
    assert done.stdout == "still here\nstill here\n", done.stderr


def test_an_error_shows_the_user_s_frames_and_no_others(tmp_path):
    done = run_script(
        tmp_path,
        """
        import ray
        ray.init(engine="inline")
        def fetch():
            return ray.get(5)
        fetch()
        """,
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.strip() for line in lines if line.startswith("  File")] == [
        f'File "{tmp_path / "script.py"}", line 6, in <module>',
        f'File "{tmp_path / "script.py"}", line 5, in fetch',
    ]
    assert any(line.startswith("ValueError: get() takes an ObjectRef") for line in lines)
    assert lines[-1] == (
        "(1 frame of Heliostat and of libraries it calls left out; "
        "`heliostat run --full-traceback` shows all)"
    )


def test_a_remote_error_shows_the_remote_traceback_once(tmp_path):
    done = run_script(
        tmp_path,
        """
        import ray
        ray.init(engine="inline")
        @ray.remote
        def divide(x):
            return 1 / x
        ray.get(divide.remote(0))
        """,
    )
    assert done.returncode == 1
    assert done.stderr.count("line 6, in divide") == 1
    assert "line 7, in <module>" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert "/heliostat/_" not in done.stderr


def test_the_full_traceback_has_heliostat_s_frames(tmp_path):
    (tmp_path / "script.py").write_text("import ray\nray.get(5)\n")
    done = heliostat("run", "--full-traceback", "script.py", cwd=tmp_path)
    assert "_core/api.py" in done.stderr
    assert "/cli/" not in done.stderr
    assert "left out" not in done.stderr


def test_a_syntax_error_names_the_line(tmp_path):
    done = run_script(tmp_path, "x = 1\ndef f(:\n")
    assert done.returncode == 1
    assert f'File "{tmp_path / "script.py"}", line 2' in done.stderr
    assert "SyntaxError" in done.stderr
    assert "heliostat" not in done.stderr


def test_what_heliostat_lacks_is_said_under_run(tmp_path):
    done = run_script(tmp_path, "from ray.rllib.algorithms import ppo\n")
    assert done.returncode == 1
    assert "ModuleNotFoundError: Heliostat has no ray.rllib" in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["no-such.py"], "heliostat run: there is no file 'no-such.py' in "),
        (["."], "heliostat run: '.' is a directory"),
        (["-m", "no.such"], "heliostat run: there is no module 'no.such' on the path "),
        (["--what", "x.py"], "unrecognized arguments: --what"),
        ([], "usage: heliostat run"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_code_2(tmp_path, args, words):
    done = heliostat("run", *args, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_a_program_with_a_short_traceback(tmp_path):
    (tmp_path / "script.py").write_text("import time\nprint('on', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "heliostat.cli", "run", "script.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "script.py" in error
    assert "cli/_run.py" not in error
    assert error.splitlines()[-1] == "KeyboardInterrupt"
