"""Is Core faster than Ray? Start-up, tasks, actor calls, shared memory, memory and processes when idle.

The same small programs run with Heliostat and, when HELIOSTAT_BENCH_RAY_PYTHON names an interpreter
that has ray and numpy, with Ray: a round of the one, then of the other, so that both meet the same
machine. Public API only. `--rounds N` (default 3).
"""

import argparse
import compileall
import json
import os
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import heliostat
from benchmarks.ratios import Row, show

INIT = "ray.init(num_cpus=2, logging_level='ERROR', log_to_driver=False)"

LIFE = f"""
import sys, time; t0 = time.perf_counter()
import {{package}} as ray
t1 = time.perf_counter(); {INIT}
t2 = time.perf_counter()
@ray.remote
def same(x): return x
assert ray.get(same.remote(1)) == 1
now = time.time(); t3 = time.perf_counter(); ray.shutdown(); t4 = time.perf_counter()
import json
print(json.dumps({{{{"import": t1 - t0, "init": t2 - t1, "first_at": now, "shutdown": t4 - t3}}}}))
"""

IDLE = f"""
import sys, time
import {{package}} as ray
{INIT}
@ray.remote
def same(x): return x
assert ray.get(same.remote(1)) == 1
print("ready", flush=True); sys.stdin.read(); ray.shutdown()
"""

CALLS = f"""
import json, time
from statistics import median
import numpy as np
import {{package}} as ray
{INIT}
big, out = np.ones(100_000_000, np.uint8), {{{{}}}}

def seconds(work):
    t = time.perf_counter(); kept = work(); s = time.perf_counter() - t
    del kept
    return s

def rate(name, n, work):
    out[name] = n / median(seconds(work) for _ in range(3))

out["put_cold"] = 0.1 / seconds(lambda: ray.put(big))
recycled = []
for _ in range(6):
    time.sleep(0.3)  # Ray frees an object some time after its last reference has gone
    recycled.append(0.1 / seconds(lambda: ray.put(big)))
out["put_recycled"] = median(recycled[2:])

@ray.remote
def nothing(): return None

@ray.remote
class Echo:
    def same(self, x=None): return x

ray.get([nothing.remote() for _ in range(200)])
rate("tasks_sync", 500, lambda: [ray.get(nothing.remote()) for _ in range(500)])
rate("tasks_async", 5000, lambda: ray.get([nothing.remote() for _ in range(5000)]))
echo = Echo.remote(); ray.get([echo.same.remote() for _ in range(100)])
rate("calls_sync", 1000, lambda: [ray.get(echo.same.remote()) for _ in range(1000)])
rate("calls_async", 5000, lambda: ray.get([echo.same.remote() for _ in range(5000)]))
ray.shutdown()
print(json.dumps(out))
"""


class Engine:
    """One of the two: an interpreter, a package, and what was measured with them."""

    def __init__(self, package: str, python: str) -> None:
        self.package, self.python = package, python
        self.values: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def process(self, program: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """The program running, and the mark in its environment that its daemons inherit."""
        mark = uuid.uuid4().hex
        process = subprocess.Popen(
            [self.python, "-c", program.format(package=self.package)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "BENCHMARK_MARK": mark},
        )
        with process:
            yield process, mark
        if process.returncode:
            raise RuntimeError(f"{self.package}: the program exited {process.returncode}")

    def measured(self, program: str) -> dict[str, float]:
        """What the program prints as its last line of JSON."""
        with self.process(program) as (process, _):
            out, _ = process.communicate()
        lines = [line for line in out.splitlines() if line.startswith("{")]
        return {name: float(value) for name, value in json.loads(lines[-1]).items()}

    def round(self) -> None:
        """Measure everything once."""
        began = time.time()
        life = self.measured(LIFE)
        life["first_result"] = life.pop("first_at") - began
        for name, value in {**life, **self.measured(CALLS), **self.idle()}.items():
            self.values[name].append(value)

    def idle(self) -> dict[str, float]:
        """Memory and processes of the whole tree, three seconds after a first task."""
        with self.process(IDLE) as (process, mark):
            assert process.stdout is not None
            while process.stdout.readline().strip() != "ready":
                pass
            time.sleep(3)
            tree = processes(process.pid, mark)
            found = {"pss": sum(map(pss, tree)), "processes": float(len(tree))}
            process.communicate("")
        return found


def processes(root: int, mark: str) -> set[int]:
    """The process, its descendants, and whatever carries the mark, with their descendants."""
    children: dict[int, list[int]] = defaultdict(list)
    todo = [root]
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            children[parent].append(int(entry.name))
            if mark.encode() in (entry / "environ").read_bytes():
                todo.append(int(entry.name))
        except OSError:  # it has ended meanwhile
            continue
    found: set[int] = set()
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += children[pid]
    return found


def pss(pid: int) -> float:
    """Megabytes of a process; a page shared by n processes counts 1/n."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def rows(ours: Engine, ray: Engine | None) -> list[Row]:
    """The table, with the ratios that we promise."""

    def row(name: str, key: str, unit: str, goal: float | None = None) -> Row:
        theirs = tuple(ray.values[key]) if ray else ()
        better: Literal["more", "less"] = "more" if unit in ("/s", "GB/s") else "less"
        return Row(name, unit, better, tuple(ours.values[key]), theirs, goal)

    return [
        row("import", "import", "s"),
        row("script start to first result", "first_result", "s", 15),
        row("init", "init", "s"),
        row("shutdown", "shutdown", "s"),
        row("tasks, one at a time", "tasks_sync", "/s", 10),
        row("5,000 tasks at once", "tasks_async", "/s", 8),
        row("actor calls, one at a time", "calls_sync", "/s", 6),
        row("5,000 actor calls at once", "calls_async", "/s"),
        row("put 100 MB, cold", "put_cold", "GB/s"),
        row("put 100 MB, recycled memory", "put_recycled", "GB/s", 1),
        row("idle memory, all processes (PSS)", "pss", "MB", 6),
        row("idle processes", "processes", ""),
    ]


def main() -> int:
    """Run the rounds and print the table; 0 whatever the ratios are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    ours = Engine("heliostat", sys.executable)
    python = os.environ.get("HELIOSTAT_BENCH_RAY_PYTHON")
    ray = Engine("ray", python) if python else None
    # An installed package comes compiled, as Ray's does; a checkout may not be.
    compileall.compile_dir(str(Path(heliostat.__file__).parent), quiet=2)
    if ray is None:
        print("HELIOSTAT_BENCH_RAY_PYTHON is not set: no ratios, only our own figures")
    for number in range(rounds):
        for engine in filter(None, (ours, ray)):
            print(f"round {number + 1} of {rounds}: {engine.package}", flush=True)
            engine.round()
    show(rows(ours, ray), "ray")
    return 0


if __name__ == "__main__":
    sys.exit(main())
