"""Fault points: places where a test makes the code fail as the world might. Off unless asked for.

Code says `point("store.spill.write")` before it does what can fail. While nothing is injected that
is one look at a global. `inject` makes the N-th call of a point in this process fail; processes
that start later take theirs from HELIOSTAT_FAULTS in the environment.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

# Every point there is, and what it stands before. Tests compare this with the source.
POINTS = {
    "store.write": "a value is written into shared memory",
    "zygote.gpu": "the zygote looks whether an import has initialised a GPU",
    "spill.open": "the file on disk is made",
    "spill.allocate": "room for a value is reserved on disk",
    "spill.write": "a piece of a value is written to disk",
    "spill.read": "a piece of a value is read from disk",
    "worker.task": "a worker runs a task",
    "worker.call": "a worker runs a call of its actor",
    "worker.code": "a worker begins with the user's code",
    "worker.result": "a worker writes the outcome of the user's code",
}

ENVIRONMENT = "HELIOSTAT_FAULTS"

_armed: list[Fault] | None = None
_lock = threading.Lock()
_here = "0"  # what tells this process's random numbers from those of others


class Fault:
    """What happens at a point, and how often. As a context manager: until the block ends.

    Attributes:
        calls: How often the point was reached since.
        strikes: How often it failed.
    """

    def __init__(
        self, name: str, action: BaseException | str, nth: int, times: int, p: float, seed: int
    ) -> None:
        import fnmatch  # noqa: PLC0415 - only when something is injected
        import re  # noqa: PLC0415

        if not fnmatch.filter(POINTS, name):
            raise ValueError(f"there is no fault point {name!r}; there are {', '.join(POINTS)}")
        if nth < 1 or times < 0 or not 0 < p <= 1:
            raise ValueError(
                f"{name}: nth must be >= 1, times >= 0 and p above 0 and at most 1, "
                f"got nth={nth}, times={times}, p={p}"
            )
        self.name = name
        self._matches = re.compile(fnmatch.translate(name)).match
        self._action = _action(action) if isinstance(action, str) else action
        self._nth, self._times, self._p, self._seed = nth, times, p, seed
        self._random = _random(seed, name) if p < 1 else None
        self.calls = self.strikes = 0

    def due(self, name: str) -> bool:
        """Count a call of a point; whether this one fails."""
        if not self._matches(name):
            return False
        self.calls += 1
        if self.calls < self._nth or (self._times and self.strikes >= self._times):
            return False
        if self._random is not None and self._random.random() >= self._p:
            return False
        self.strikes += 1
        return True

    def strike(self) -> None:
        """Do it: raise, or end this process."""
        action = self._action
        if isinstance(action, BaseException):
            raise action.with_traceback(None)
        if isinstance(action, signal.Signals):
            os.kill(os.getpid(), action)
        else:
            _perform(*action)

    def reseed(self) -> None:
        """In a forked process: draw other numbers than its siblings, and count from the start."""
        self.calls = self.strikes = 0
        if self._random is not None:
            self._random = _random(self._seed, self.name)

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *error: object) -> None:
        global _armed
        with _lock:
            left = [fault for fault in _armed or () if fault is not self]
            _armed = left or None


def _random(seed: int, name: str) -> Random:
    from random import Random  # noqa: PLC0415 - only for faults with a probability

    return Random(f"{seed} {name} {_here}")


def _perform(what: str, number: str) -> None:
    """Wait a while or end, or start what sends a signal while the code goes on."""
    if what == "delay":
        time.sleep(float(number))
    elif what == "exit":
        os._exit(int(number))
    else:  # within some milliseconds; the same ones, whenever it is done
        timer = threading.Timer(0.002, os.kill, (os.getpid(), signal.Signals[what]))
        timer.daemon = True
        timer.start()


def _action(text: str) -> BaseException | signal.Signals | tuple[str, str]:
    what, _, number = text.partition("=")
    if what in signal.Signals.__members__ and number in ("", "soon"):
        return (what, number) if number else signal.Signals[what]
    if what in ("delay", "exit") and number.replace(".", "", 1).isdigit():
        return what, number
    if text == "raise":
        return RuntimeError("a fault was injected here")
    error = getattr(errno, text, None) if text.startswith("E") else None
    if error is None:
        raise ValueError(
            f"{text!r} is no fault: name an error number such as ENOSPC, a signal such as SIGKILL "
            "(SIGKILL=soon: while the code runs on), raise, exit=1 or delay=0.1"
        )
    return OSError(error, f"{os.strerror(error)} (injected)")


def point(name: str) -> None:
    """A place that can fail.

    Args:
        name: Which; listed in `POINTS`.

    Raises:
        BaseException: Whatever was injected here.

    Example:
        >>> point("store.write")
    """
    if _armed is not None:
        _reached(name)


def _reached(name: str) -> None:
    with _lock:
        due = [fault for fault in _armed or () if fault.due(name)]
    if due:
        due[0].strike()


def inject(
    name: str,
    action: BaseException | str,
    *,
    nth: int = 1,
    times: int = 1,
    p: float = 1.0,
    seed: int = 0,
) -> Fault:
    """Make a point of this process fail, until `clear` or the end of a `with` block.

    Args:
        name: The point; `*` and `?` match several, which then count together.
        action: An exception to raise; or, as text, the name of an error number ("ENOSPC") or of
            a signal that this process sends itself ("SIGKILL", or "SIGKILL=soon" from a thread
            that lets the code run on), "raise", "exit=1" or "delay=0.1" (seconds).
        nth: The first call that fails.
        times: How many calls fail from there on; 0: all.
        p: With which probability each of these fails.
        seed: For the probability: the same seed, the same calls.

    Returns:
        The fault, which counts calls and strikes.

    Raises:
        ValueError: If there is no such point or action, or a number is out of range.

    Example:
        >>> with inject("store.write", "ENOSPC", nth=2) as fault:
        ...     point("store.write")
        ...     try:
        ...         point("store.write")
        ...     except OSError as error:
        ...         print(error)
        [Errno 28] No space left on device (injected)
        >>> fault.calls, fault.strikes
        (2, 1)
    """
    global _armed
    fault = Fault(name, action, nth, times, p, seed)
    with _lock:
        _armed = [*(_armed or ()), fault]
    return fault


def clear() -> None:
    """Inject nothing any more.

    Example:
        >>> clear()
    """
    global _armed
    _armed = None


def parse(text: str) -> list[Fault]:
    """Inject what a line says, as found in HELIOSTAT_FAULTS.

    Args:
        text: Faults with commas between them: `point:action`, and `:nth=`, `:times=`, `:p=` and
            `:seed=` as for `inject`.

    Returns:
        The faults.

    Raises:
        ValueError: If it cannot be read.

    Example:
        >>> [fault.name for fault in parse("store.write:ENOSPC:nth=3")]
        ['store.write']
        >>> clear()
    """
    return [_parse_one(one.strip()) for one in text.split(",") if one.strip()]


def _parse_one(text: str) -> Fault:
    name, _, rest = text.partition(":")
    action, *pairs = rest.split(":")
    numbers: dict[str, float] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        try:
            numbers[key] = float(value) if key == "p" else int(value)
        except ValueError as error:
            raise ValueError(f"{ENVIRONMENT}: {pair!r} in {text!r} is no number") from error
    unknown = numbers.keys() - {"nth", "times", "p", "seed"}
    if unknown:
        raise ValueError(f"{ENVIRONMENT}: {text!r} has unknown {', '.join(sorted(unknown))}")
    return inject(
        name,
        action,
        nth=int(numbers.get("nth", 1)),
        times=int(numbers.get("times", 0 if "p" in numbers else 1)),
        p=numbers.get("p", 1.0),
        seed=int(numbers.get("seed", 0)),
    )


def forked(number: int) -> None:
    """In a new worker: its faults begin anew, with random numbers of its own.

    Args:
        number: The worker's, which is the same in every run of a program.

    Example:
        >>> forked(0)
    """
    global _here
    _here = str(number)
    for fault in _armed or ():
        fault.reseed()


if ENVIRONMENT in os.environ:
    parse(os.environ[ENVIRONMENT])
