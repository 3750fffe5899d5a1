"""DuckDB's files on disk do not outlive the process, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from heliostat.data._native.temp_files import folder_of, remove_stale_folders, removed_if_killed
from heliostat.testing.clock import until

KILLED = """
import os, signal
from heliostat.data._native.temp_files import folder_of, removed_if_killed
folder = folder_of(os.getpid())
os.mkdir(folder)
open(os.path.join(folder, "duckdb_temp_storage-0.tmp"), "w").write("rows")
with removed_if_killed():
    print(folder, flush=True)
    os.kill(0, signal.SIGINT) if {interrupted} else None
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.mark.parametrize("interrupted", [False, True])
def test_they_go_with_a_process_that_is_killed_in_a_query(interrupted):
    code = KILLED.format(interrupted=interrupted)
    done = subprocess.run(
        [sys.executable, "-c", f"import signal; signal.signal(2, signal.SIG_IGN)\n{code}"],
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    until(lambda: not os.path.exists(done.stdout.strip()))


def test_they_stay_while_the_process_lives():
    os.mkdir(folder_of(os.getpid()))
    with removed_if_killed():
        pass
    assert os.path.isdir(folder_of(os.getpid()))


def test_queries_one_after_another_have_one_shell_which_ends_soon_after_the_last():
    def shells():
        stat = [Path(f"/proc/{pid}/stat") for pid in children.read_text().split()]
        return sum(one.read_text().rpartition(")")[2].split()[0] not in "ZX" for one in stat)

    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = shells()
    for _ in range(3):
        with removed_if_killed(), removed_if_killed():
            assert shells() == before + 1
    until(lambda: shells() == before)


def test_a_shell_that_was_killed_is_replaced():
    killed = """
with removed_if_killed():
    shell = temp_files._guard(folder)._shell
    shell.kill()
    shell.wait()
with removed"""
    code = KILLED.format(interrupted=False).replace("\nwith removed", killed, 1)
    done = subprocess.run(
        [sys.executable, "-c", f"from heliostat.data._native import temp_files\n{code}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    until(lambda: not os.path.exists(done.stdout.strip()))


def test_the_end_of_a_fork_is_not_the_end_of_the_shell():
    forked = """
with removed_if_killed():
    child = os.fork()
    if not child:
        raise SystemExit
    os.waitpid(child, 0)
    time.sleep(0.2)  # the shell would end"""
    code = KILLED.format(interrupted=False).replace("\nwith removed_if_killed():", forked, 1)
    done = subprocess.run(
        [sys.executable, "-c", f"import time\n{code}"], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    until(lambda: not os.path.exists(done.stdout.strip()))


def test_what_others_have_left_is_removed_and_what_is_in_use_is_not():
    gone = (1 << 22) + 1  # above all there can be
    for pid in (gone, os.getpid()):
        os.mkdir(folder_of(pid))
        with open(os.path.join(folder_of(pid), "rows"), "w"):
            pass
    remove_stale_folders()
    assert not os.path.exists(folder_of(gone))
    assert os.path.exists(folder_of(os.getpid()))
