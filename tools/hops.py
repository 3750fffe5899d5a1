"""Which files of Heliostat a call runs through, in the order they are first entered.

The journeys in docs/journeys say "six hops, at most 18 files"; tests/journeys walks them with
`follow()` and fails when a call grows longer than its page says. Only this process is followed, all
its threads included: what a worker runs is seen by following inside the worker.

    python -m tools.hops 'import heliostat as ray; f = ray.remote(len)' 'ray.get(f.remote("abc"))'
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

# Threads that are on the way of no call: what they run depends on when they look.
BESIDE = frozenset({"heliostat-memory"})
PACKAGE = str(Path(__file__).parent.parent / "src" / "heliostat") + "/"


@dataclass
class Walk:
    """What a followed call did: functions in the order of their first call, and their files."""

    functions: dict[tuple[str, str], None] = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """Files of Heliostat in the order they were entered, relative to the package."""
        return list(dict.fromkeys(file for file, _ in self.functions))

    @property
    def stops(self) -> list[str]:
        """`file:qualified.name` of every function, in the order of the first call."""
        return [f"{file}:{name}" for file, name in self.functions]

    def missing(self, *expected: str) -> list[str]:
        """Those of the expected stops that do not occur, or occur before an earlier one.

        >>> Walk({("a.py", "f"): None, ("b.py", "g"): None}).missing("a.py:f", "b.py:g")
        []
        >>> Walk({("b.py", "g"): None, ("a.py", "f"): None}).missing("a.py:f", "b.py:g")
        ['b.py:g']
        """
        position, out = -1, []
        stops = self.stops
        for stop in expected:
            try:
                position = stops.index(stop, position + 1)
            except ValueError:
                out.append(stop)
        return out


@contextmanager
def follow() -> Iterator[Walk]:
    """Follow every call inside the block, in this thread, threads started in it and running ones.

    Threads that run already are followed from their next call on where Python can do so (3.12);
    before that only those started inside the block are.
    """
    walk = Walk()

    def on_event(frame: FrameType, event: str, _arg: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            file = code.co_filename[len(PACKAGE) :]
            if code.co_name != "<module>" and threading.current_thread().name not in BESIDE:
                walk.functions.setdefault((file, code.co_qualname))

    start = getattr(threading, "setprofile_all_threads", threading.setprofile)
    before = sys.getprofile()
    start(on_event)
    sys.setprofile(on_event)
    try:
        yield walk
    finally:
        sys.setprofile(before)
        start(None)


def main(setup: str, statement: str) -> int:
    """Run `setup`, follow `statement`, print the stops."""
    names: dict[str, object] = {}
    exec(compile(setup, "<setup>", "exec"), names)
    with follow() as walk:
        exec(compile(statement, "<statement>", "exec"), names)
    print(*walk.stops, sep="\n")
    print(f"{len(walk.functions)} functions in {len(walk.files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
