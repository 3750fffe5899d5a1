"""`heliostat stack`: what the threads of a session's processes do now.

The driver tells it as it tells everything else; a worker does by a signal (see `worker/stacks.py` in
the engine), so that one that is busy, or in native code, answers as well.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heliostat.cli._errors import CommandError
from heliostat.cli._processes import who_is
from heliostat.cli._sessions import ask, chosen, plain
from heliostat.cli._tables import write_json
from heliostat.util._heard import stacks


def add_parser(commands: Any) -> None:
    """Add `stack`."""
    parser = commands.add_parser("stack", help="the Python stacks of the driver and every worker")
    parser.add_argument("process", nargs="?", type=int, help="of this process only")
    parser.add_argument("--pid", type=int, help="the driver process, if several run")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(carry_out=stack)


def stack(options: argparse.Namespace) -> int:
    """Print the stacks of the driver and its workers; the exit code."""
    pid = chosen(options.pid)
    workers = [worker for worker in ask(pid, "workers") if worker["pid"] is not None]
    who = {pid: "driver", **{worker["pid"]: who_is(worker) for worker in workers}}
    if options.process is not None and options.process not in who:
        raise CommandError(
            f"process {options.process} is no part of this session; there are {', '.join(map(str, who))}"
        )
    told = [
        {"pid": each, "who": name, "stack": ask(pid, "stack") if each == pid else stacks_of(each)}
        for each, name in who.items()
        if options.process in (None, each)
    ]
    if options.json:
        write_json(told)
        return 0
    for entry in told:
        sys.stdout.write(f"process {entry['pid']}: {plain(entry['who'])}\n")
        sys.stdout.write(
            "".join(f"  {plain(line)}\n" for line in entry["stack"].splitlines()) + "\n"
        )
    return 0


def stacks_of(pid: int) -> str:
    """The stacks of a worker's threads; in parentheses why not, if it does not tell them."""
    from heliostat._engines.local.worker.stacks import NAME, SIGNAL  # noqa: PLC0415 - others do without

    files = list(_files_of(pid, f"/memfd:{NAME} "))
    if not files:
        return "(it has ended, or has just begun)"
    try:
        before = [file.stat().st_size for file in files]
        text = stacks(
            pid,
            SIGNAL,
            lambda: "".join(_since(file, n) for file, n in zip(files, before, strict=True)),
        )
    except OSError as error:
        return f"(it cannot be asked: {error.strerror})"
    return text.rstrip() or "(it does not answer: it is stopped)"


def _files_of(pid: int, target: str) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.readlink(file).startswith(target):
                    yield file


def _since(file: Path, start: int) -> str:
    with file.open("rb") as opened:
        opened.seek(start)
        return opened.read().decode(errors="replace")
