"""A traceback cut down to the frames its reader wrote.

Left out are Heliostat's own frames, and frames of libraries that Heliostat called; a library
that the user called is shown. The errors and their causes stay. This works on text, because a
remote traceback is text within the message of an error. Knows nothing of how programs are run.
"""

import re
import site
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from heliostat.exceptions import RayTaskError

HELIOSTAT = str(Path(__file__).parents[1])
# The bars are those of an exception group.
FRAME = re.compile(r'^(?P<margin>[ |]*)  File "(?P<file>[^"]+)", line \d+, in ')
BEGIN = re.compile(r"^[ |+]*(Exception Group )?Traceback \(most recent call last\):$")


class Trimmed(NamedTuple):
    """What to print, and how many frames are not in it."""

    text: str
    hidden: int


class Frame(NamedTuple):
    """A frame's file, or the empty string for text that is no frame, and the lines."""

    file: str
    lines: list[str]


def trimmed(error: BaseException, *, whole: bool = False) -> Trimmed:
    """The traceback of an error that ended the user's program.

    Args:
        error: The error, as caught.
        whole: Leave out nothing but what runs before the user's first frame.
    """
    report = traceback.TracebackException.from_exception(error)
    report.stack = _without_runner(report.stack)
    if whole:
        return Trimmed("".join(report.format()), 0)
    if isinstance(error, RayTaskError):
        # The message has the remote traceback; the cause would say the same once more.
        report.__cause__ = None
        report.__suppress_context__ = True
    _drop_told_causes(report)
    return cut("".join(report.format()))


def cut(text: str) -> Trimmed:
    """Leave the frames out that are not the user's, of any traceback within a text."""
    kept: list[str] = []
    hidden = 0
    by_heliostat = True
    header: str | None = None
    for frame in _frames(text):
        if not frame.file:
            header = None
            by_heliostat = True
            kept += frame.lines
            if BEGIN.match(frame.lines[-1]):
                header = kept.pop()
            continue
        by_heliostat = _is_below_heliostat(frame.file, by_heliostat)
        if by_heliostat or frame.file.startswith("<frozen "):
            hidden += 1
            continue
        if header is not None:
            kept.append(header)
            header = None
        kept += frame.lines
    return Trimmed("".join(f"{line}\n" for line in kept), hidden)


def _frames(text: str) -> Iterator[Frame]:
    """The text in order: runs of other lines, and frames with the source lines below them."""
    current = Frame("", [])
    margin = ""
    for line in text.splitlines():
        start = FRAME.match(line)
        if start is None and current.file and line.startswith((f"{margin}    ", f"{margin}  [Pr")):
            current.lines.append(line)
            continue
        if start is None and not current.file and not _ends(current):
            current.lines.append(line)
            continue
        if current.lines:
            yield current
        current = Frame(start["file"] if start else "", [line])
        margin = start["margin"] if start else ""
    if current.lines:
        yield current


def _ends(frame: Frame) -> bool:
    return bool(frame.lines) and BEGIN.match(frame.lines[-1]) is not None


def _without_runner(stack: traceback.StackSummary) -> traceback.StackSummary:
    runner = (str(Path(HELIOSTAT, "cli")),)
    theirs = (n for n, frame in enumerate(stack) if not _is_in(frame.filename, runner))
    return traceback.StackSummary.from_list(stack[next(theirs, len(stack)) :])


def _drop_told_causes(report: traceback.TracebackException) -> None:
    """Drop a cause of which no frame is the user's and whose message the error repeats."""
    cause = report.__cause__ or (None if report.__suppress_context__ else report.__context__)
    if cause is None:
        return
    _drop_told_causes(cause)
    below = True
    for frame in cause.stack:
        below = _is_below_heliostat(frame.filename, below)
        if not below:
            return
    if str(cause) in str(report):
        report.__cause__ = None
        report.__suppress_context__ = True


def _is_below_heliostat(file: str, was_below: bool) -> bool:
    """Whether a frame is Heliostat's, or a library's that it called rather than the user."""
    if _is_in(file, (HELIOSTAT,)):
        return True
    # Compiled code tells the path that it had where it was built; the import system has none.
    built_in = file.endswith((".pyx", ".pxi", ".pxd")) or file.startswith("<frozen ")
    is_library = built_in or _is_in(file, LIBRARIES)
    return was_below and is_library


def _is_in(file: str, directories: tuple[str, ...]) -> bool:
    return any(file.startswith(f"{directory}/") for directory in directories)


def _library_directories() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    places = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple({*places, *site.getsitepackages()})


LIBRARIES = _library_directories()
