"""DuckDB's files on disk: they are removed also if this process is killed while a query runs.

They have names, which DuckDB opens them by; so a shell waits beside the query, hears of the end of
this process by the end of its input, and removes them.
"""

import contextlib
import glob
import os
import subprocess
import tempfile
from collections.abc import Iterator

_REMOVE_UNLESS_TOLD = 'read -r _ || rm -rf -- "$0"'


def folder_of(pid: int) -> str:
    """Where the queries of a process put what does not fit into memory."""
    return os.path.join(tempfile.gettempdir(), f"heliostat-{os.getuid()}-{pid}-duckdb")


def remove_stale_folders() -> None:
    """What processes have left that were killed together with their shell, or before it was there."""
    pattern = os.path.join(tempfile.gettempdir(), f"heliostat-{os.getuid()}-*-duckdb")
    for folder in glob.glob(pattern):
        owner = folder.split("-")[-2]
        if os.path.exists(f"/proc/{owner}"):
            continue
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)


@contextlib.contextmanager
def removed_if_killed() -> Iterator[None]:
    """While a query runs that may need disk."""
    shell = subprocess.Popen(
        ["/bin/sh", "-c", _REMOVE_UNLESS_TOLD, folder_of(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Not one of those that Ctrl-C, or a kill of the whole group, reaches.
        start_new_session=True,
    )
    try:
        yield
    finally:
        # It may have been killed itself.
        with contextlib.suppress(BrokenPipeError):
            shell.communicate(b"\n")
        shell.wait()
