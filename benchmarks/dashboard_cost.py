"""What does a dashboard cost a program that runs many tasks? 5,000 at once, without and with, in turns.

One session, whose dashboard is begun and closed again: windows of some seconds with it stand between
windows without, and each is compared with its two neighbours, in processor time of all processes and
by the clock. The same is done for windows without it: so far off the machine can be.
The baseline is what is without: a ratio of 0.98 is a cost of 2 %. Beginning and closing are not counted,
nor are the first 1.5 seconds of each window, in which a new dashboard takes what has ended before.

Nobody looks at the pages meanwhile; `--looking` has somebody ask for the first one once a second.
`--rounds N` windows with it (default 12), of `--seconds S` each (default 5).
"""

import argparse
import os
import threading
import time
import urllib.request
from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import heliostat as ray
from heliostat import dashboard

TASKS = 5_000
UNMEASURED_S = 1.5


class Window(NamedTuple):
    """What 5,000 tasks took, on average over some seconds."""

    processors_s: float
    clock_s: float


@ray.remote
def nothing() -> None:
    """A task."""


def tasks(least_s: float) -> Window:
    """Run 5,000 tasks again and again for at least so long."""
    used, began, times = processors_s(), time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < least_s:
        ray.get([nothing.remote() for _ in range(TASKS)])
        times += 1
    return Window((processors_s() - used) / times, elapsed / times)


def processors_s() -> float:
    """Processor time of this process and of all below it, to the nanosecond."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    # The kernel's number for the clock of another process: clock_getcpuclockid(3).
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in ours)


@contextmanager
def shown(looking: bool) -> Any:
    """A dashboard; somebody looks at it, if `looking`."""
    ended, begun = threading.Event(), dashboard.start()
    watcher = threading.Thread(target=look, args=(begun.url, ended))
    if looking:
        watcher.start()
    try:
        yield
    finally:
        ended.set()
        if looking:
            watcher.join()
        begun.close()


def look(url: str, ended: threading.Event) -> None:
    """Ask for what the first page shows, as a browser does."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    opener.open(url).close()
    origin = url.partition("/?")[0]
    while not ended.wait(1.0):
        for page in ("session", "overview", "series"):
            opener.open(f"{origin}/api/page/{page}").close()


def beside(windows: Sequence[float]) -> list[float]:
    """Each window but the outer ones over the mean of its neighbours.

    >>> beside([1.0, 3.0, 2.0])
    [0.5]
    """
    threes = zip(windows, windows[1:], windows[2:], strict=False)
    return [mean((before, after)) / own for before, own, after in threes]


def told(
    name: str, without: Sequence[float], with_: Sequence[float], ratios: list[float], goal: str
) -> None:
    """A line of the table."""
    quarter = len(ratios) // 4
    half = f"{sorted(ratios)[quarter]:.3f} to {sorted(ratios)[-1 - quarter]:.3f}"
    print(
        f"{name:<20}{median(without):>8.4f} s{median(with_):>8.4f} s{median(ratios):>8.3f}x{half:>18}{goal:>8}"
    )


def main() -> int:
    """Print the table; 0 whatever the ratios are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--looking", action="store_true")
    options = parser.parse_args()
    windows = []
    with ray.init(num_cpus=2):
        with shown(options.looking):
            tasks(options.seconds)  # what is imported once is imported
        for number in range(2 * options.rounds + 1):
            with_it: AbstractContextManager[Any] = (
                shown(options.looking) if number % 2 else nullcontext()
            )
            with with_it:
                tasks(UNMEASURED_S)
                windows.append(tasks(options.seconds))
    print(f"{'5,000 tasks':<20}{'without':>10}{'with':>10}{'ratio':>9}{'half are':>18}{'goal':>8}")
    for measure, name in enumerate(("processor time", "clock")):
        values = [window[measure] for window in windows]
        told(name, values[::2], values[1::2], beside(values)[::2], ">=0.98x")
        told("  none beside none", values[::2], values[::2], beside(values[::2]), "")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
