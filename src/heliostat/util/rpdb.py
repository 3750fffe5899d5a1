"""pdb in tasks and actors, from another terminal: `heliostat debug`; Ray's `ray.util.rpdb`.

A breakpoint in a worker says on the driver's terminal where it is, and waits on an abstract Unix
socket, which has no file and answers only processes of the same user. In the driver, and on the
inline engine, it is plain pdb.
"""

from __future__ import annotations

import bdb
import contextlib
import itertools
import os
import pdb
import socket
import struct
import sys
from types import FrameType, TracebackType
from typing import IO, Any

import heliostat as ray

__all__ = ["post_mortem", "set_trace"]

_NAME = "\0heliostat-debug-{uid}-{pid}-{number}"
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_PATIENCE_S = 5.0
_numbers = itertools.count()


def set_trace(frame: FrameType | None = None) -> None:
    """Stop here and wait for `heliostat debug`. `breakpoint()` in a task does the same.

    Args:
        frame: Where to stop; where it is called when left out.
    """
    frame = frame or sys._getframe(1)
    if not _in_worker():
        pdb.Pdb().set_trace(frame)
        return
    debugger = _Remote(f"breakpoint in {_who()} at {_where(frame, frame.f_lineno)}")
    debugger.set_trace(frame)


def post_mortem(error: BaseException | None = None) -> None:
    """Look at where an error was raised, from another terminal.

    With HELIOSTAT_DEBUG_POST_MORTEM=1 each error of a task or of an actor's method waits so.

    Args:
        error: The error; the one that is handled when left out.

    Raises:
        ValueError: If there is none.
    """
    error = sys.exc_info()[1] if error is None else error
    if error is None or error.__traceback__ is None:
        raise ValueError("post_mortem() needs an error that was raised; there is none here")
    trace = _innermost(error.__traceback__)
    if not _in_worker():
        pdb.post_mortem(error.__traceback__)
        return
    place = _where(trace.tb_frame, trace.tb_lineno)
    debugger = _Remote(f"{type(error).__name__} in {_who()} at {place}")
    debugger.reset()
    with contextlib.suppress(bdb.BdbQuit):
        debugger.interaction(None, error.__traceback__)
    debugger.release()


def _in_worker() -> bool:
    return os.environ.get("HELIOSTAT_WORKER") == "1"


def _innermost(trace: TracebackType) -> TracebackType:
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _where(frame: FrameType, line: int) -> str:
    return f"{frame.f_code.co_filename}:{line}"


def _who() -> str:
    return ray.get_runtime_context().get_task_name() or "a worker"


class _Remote(pdb.Pdb):
    """pdb whose terminal is elsewhere.

    Args:
        about: What waits, and where.
    """

    def __init__(self, about: str) -> None:
        sys.stderr.write(
            f"heliostat: {about}; attach from another terminal: heliostat debug {os.getpid()}\n"
        )
        sys.stderr.flush()
        # Two files: one that is read and written forgets what was typed ahead.
        self._typed, self._shown = _wait_for_visitor(about)
        super().__init__(stdin=self._typed, stdout=self._shown, nosigint=True)
        self.use_rawinput = False
        self.prompt = "(pdb) "

    def do_EOF(self, arg: str) -> Any:
        """Whoever was attached has gone: go on."""
        return self.do_continue(arg)

    def set_continue(self) -> None:
        """Go on; without breakpoints nothing will stop here again."""
        super().set_continue()
        if not self.breaks:
            self.release()

    def set_quit(self) -> None:
        """End what runs."""
        super().set_quit()
        self.release()

    def release(self) -> None:
        """Hang up."""
        for file in (self._shown, self._typed):
            with contextlib.suppress(OSError, ValueError):
                file.close()


def _wait_for_visitor(about: str) -> tuple[IO[str], IO[str]]:
    """The terminal of the first who wants to attach, to read from and to write to.

    Others are told what waits here.
    """
    name = _NAME.format(uid=os.getuid(), pid=os.getpid(), number=next(_numbers))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen(4)
        while True:
            visitor, _ = listener.accept()
            with contextlib.suppress(OSError):
                if _wants_to_attach(visitor, about):
                    visitor.settimeout(None)
                    with visitor:
                        text: dict[str, Any] = {"encoding": "utf-8", "errors": "replace"}
                        return visitor.makefile("r", **text), visitor.makefile("w", **text)
            visitor.close()


def _wants_to_attach(visitor: socket.socket, about: str) -> bool:
    raw = visitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    if _CREDENTIALS.unpack(raw)[1] != os.getuid():
        return False
    visitor.settimeout(_PATIENCE_S)
    if visitor.recv(1) == b"a":
        return True
    visitor.sendall(about.encode())
    return False
