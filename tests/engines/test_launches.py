"""Programs that are started in odd ways: no file, no home, nowhere to write, nobody's user."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = """
import heliostat as ray
ray.init(num_cpus=2)

class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b

@ray.remote
def add(pair):
    return pair.a + pair.b

@ray.remote
class Sum:
    def __init__(self):
        self.n = 0
    def add(self, pair):
        self.n += pair.a + pair.b
        return self.n

total = Sum.remote()
print(ray.get([add.remote(Pair(1, 2)), total.add.remote(Pair(3, 4))]))
ray.shutdown()
"""


def environ(**changes: str | None) -> dict[str, str]:
    path = os.pathsep.join(filter(None, sys.path))
    merged: dict[str, str | None] = {**os.environ, "PYTHONPATH": path, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def expect_sum(done: subprocess.CompletedProcess[str], said: str = "") -> None:
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[3, 7]"
    assert done.stderr == said


def run(
    *command: str,
    source: str = SOURCE,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    said: str = "",
) -> None:
    expect_sum(
        subprocess.run(
            [*(command or (sys.executable, "-"))],
            input=source,
            cwd=cwd,
            env=env or environ(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ),
        said,
    )


def test_a_program_may_come_from_standard_input() -> None:
    run()


def test_a_program_may_be_an_argument() -> None:
    run(sys.executable, "-c", SOURCE)


def test_a_notebook_has_no_file() -> None:
    run(source=f"import sys\nsys.argv = ['']\nexec(compile({SOURCE!r}, '<cell 1>', 'exec'))")


def test_the_shell_may_be_a_terminal() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-q", "-i", "-c", SOURCE],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ(),
        text=True,
    )
    os.write(ours, b"exit()\n")
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert "[3, 7]" in out
    assert process.returncode == 0, out


def test_a_directory_that_cannot_be_written_to_will_do(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    run(cwd=tmp_path)
    tmp_path.chmod(0o700)


def test_a_directory_that_is_gone_will_do(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    said = "heliostat: this program's folder was removed; its workers run in /\n"
    run(source=f"import os\nos.rmdir({str(gone)!r})\n{SOURCE}", cwd=gone, said=said)


def test_no_home_is_needed() -> None:
    run(env=environ(HOME=None, XDG_CACHE_HOME=None, XDG_RUNTIME_DIR=None, USER=None, LOGNAME=None))


def test_the_plain_locale_will_do() -> None:
    run(env=environ(LC_ALL="C", LANG=None, PYTHONUTF8=None, PYTHONIOENCODING=None))


def test_no_descriptors_of_the_usual_three_are_needed() -> None:
    run("/bin/sh", "-c", 'exec "$0" "$@" 0<&- 2>&-', sys.executable, "-c", SOURCE)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_a_user_without_an_entry_will_do(tmp_path: Path) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv is not installed")
    as_nobody = [setpriv, "--reuid=61234", "--regid=61234", "--clear-groups"]
    program = f"import os\nassert os.getuid() == 61234\n{SOURCE}"
    again = (
        "import subprocess, sys; subprocess.check_call([sys.executable, '-c', 'import heliostat'])"
    )
    for python in (sys.executable, "/usr/bin/python3"):  # ours may lie where only root can read
        able = subprocess.run(
            [*as_nobody, python, "-c", again],
            env=environ(),
            cwd="/",
            capture_output=True,
            check=False,
        )
        if able.returncode == 0:
            env = environ(HOME="/nonexistent")
            run(*as_nobody, python, "-", source=program, cwd=Path("/"), env=env)
            return
    pytest.skip("no interpreter can be read by everybody")
