"""What the threads of a rank are doing, asked for by a signal: it is told even in native code."""

from __future__ import annotations

import faulthandler
import os
import signal
from pathlib import Path
from typing import NamedTuple

from heliostat.util._heard import heard

# What a user's loop does with SIGUSR1 and SIGUSR2 stays its own affair.
SIGNAL = signal.SIGRTMAX - 3


class Ear(NamedTuple):
    """A process that tells its stacks, and the descriptor there that it tells them to."""

    pid: int
    fd: int


def listen() -> Ear:
    """From now on this process tells the stacks of its threads when it is asked to."""
    # A file without a name: nothing is left behind. Others reach it as a descriptor of ours.
    fd = os.memfd_create("heliostat-stacks")
    faulthandler.register(SIGNAL, fd, all_threads=True)
    return Ear(os.getpid(), fd)


def stacks_of(ear: Ear) -> str:
    """The stacks of all threads of a process that listens; why not, if it is gone."""
    told = Path(f"/proc/{ear.pid}/fd/{ear.fd}")
    try:
        before = len(told.read_bytes())
        os.kill(ear.pid, SIGNAL)
        text = heard(lambda: told.read_bytes()[before:])
    except OSError as error:
        return f"(process {ear.pid} cannot be asked: {error})"
    return text.decode(errors="replace").rstrip() or f"(process {ear.pid} does not answer)"
