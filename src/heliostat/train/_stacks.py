"""What the threads of a rank are doing, asked for by a signal: it is told even in native code."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import threading
from pathlib import Path
from typing import NamedTuple

import heliostat
from heliostat.util._heard import stacks

# What a user's loop does with SIGUSR1 and SIGUSR2 stays its own affair.
SIGNAL = signal.SIGRTMAX - 3
# What lies below the user's code in every stack.
_BELOW = (f'"{os.path.dirname(heliostat.__file__)}/', f'"{threading.__file__}"')


class Ear(NamedTuple):
    """A process that tells its stacks, and the descriptor there that it tells them to."""

    pid: int
    fd: int


def listen() -> Ear:
    """From now on this process tells the stacks of its threads when it is asked to."""
    # A file without a name: nothing is left behind. Others reach it as a descriptor of ours.
    fd = os.memfd_create("heliostat-stacks")
    faulthandler.register(SIGNAL, fd, all_threads=False)
    return Ear(os.getpid(), fd)


def stacks_of(ear: Ear) -> str:
    """The stacks of a process's threads, down to the user's code; why not, if it is gone."""
    told = Path(f"/proc/{ear.pid}/fd/{ear.fd}")
    try:
        text = stacks(ear.pid, SIGNAL, lambda: told.read_bytes().decode(errors="replace"))
    except OSError as error:
        return f"(process {ear.pid} cannot be asked: {error})"
    return _of_users(text) or text or f"(process {ear.pid} does not answer)"


def _of_users(text: str) -> str:
    """Those threads that run code of the user's, each from where it is down to that."""
    shown = []
    for thread in re.split(r"\n+(?=Thread )", text):
        head, *frames = thread.splitlines() or [""]
        while frames and any(below in frames[-1] for below in _BELOW):
            frames.pop()
        if frames:
            shown += [head, *frames]
    return "\n".join(shown)
