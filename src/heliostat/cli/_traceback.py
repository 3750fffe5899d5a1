"""A traceback cut down to the frames its reader wrote.

Left out are Heliostat's own frames, and frames of libraries that Heliostat called; a library
that the user called is shown. The errors and their causes stay. Knows nothing of how programs
are run.
"""

import site
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from heliostat.exceptions import RayTaskError

HELIOSTAT = str(Path(__file__).parents[1])


class Trimmed(NamedTuple):
    """What to print, and how many frames are not in it."""

    text: str
    hidden: int


def trimmed(error: BaseException, *, whole: bool = False) -> Trimmed:
    """The traceback of an error that ended the user's program.

    Args:
        error: The error, as caught.
        whole: Leave out nothing but what runs before the user's first frame.
    """
    report = traceback.TracebackException.from_exception(error)
    if isinstance(error, RayTaskError) and not whole:
        # The message has the remote traceback; the cause would say the same once more.
        report.__cause__ = None
        report.__suppress_context__ = True
    hidden = 0
    for part in _parts(report):
        every = _without_runner(part.stack)
        kept = every if whole else _users(every)
        hidden += len(every) - len(kept)
        part.stack = traceback.StackSummary.from_list(kept)
    return Trimmed("".join(report.format()), hidden)


def _parts(report: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """The report and all that it shows: causes, contexts, members of a group."""
    waiting = [report]
    while waiting:
        part = waiting.pop()
        yield part
        shown = part.__context__ if not part.__suppress_context__ else None
        waiting += [other for other in (part.__cause__, shown) if other is not None]
        waiting += part.exceptions or []


def _without_runner(stack: traceback.StackSummary) -> list[traceback.FrameSummary]:
    runner = (str(Path(HELIOSTAT, "cli")),)
    theirs = (n for n, frame in enumerate(stack) if not _is_in(frame.filename, runner))
    first = next(theirs, len(stack))
    return stack[first:]


def _users(stack: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    kept = []
    by_heliostat = True
    for frame in stack:
        if _is_in(frame.filename, (HELIOSTAT,)) or frame.filename.startswith("<frozen "):
            by_heliostat = True
        elif not _is_in(frame.filename, LIBRARIES):
            by_heliostat = False
            kept.append(frame)
        elif not by_heliostat:
            kept.append(frame)
    return kept


def _is_in(file: str, directories: tuple[str, ...]) -> bool:
    return any(file.startswith(f"{directory}/") for directory in directories)


def _library_directories() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    places = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple({*places, *site.getsitepackages()})


LIBRARIES = _library_directories()
