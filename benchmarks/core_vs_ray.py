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
def add(x, y): return x + y

@ray.remote
def size(x): return x.nbytes

@ray.remote
def make(n): return np.ones(n, np.uint8)

@ray.remote
def nested(n): return len(ray.get([nothing.remote() for _ in range(n)]))

@ray.remote
def stream(n): yield from range(n)

@ray.remote
class Echo:
    def same(self, x=None): return x
    def drive(self, others, n):
        return len(ray.get([others[i % len(others)].same.remote(i) for i in range(n)]))

@ray.remote
class Loop:
    async def same(self, x=None): return x

def chain():
    x = 0
    for _ in range(1000): x = add.remote(x, 1)
    assert ray.get(x) == 1000

def one_by_one():
    left = [nothing.remote() for _ in range(1000)]
    while left: _, left = ray.wait(left, num_returns=1)

ray.get([nothing.remote() for _ in range(200)])
rate("tasks_sync", 500, lambda: [ray.get(nothing.remote()) for _ in range(500)])
rate("tasks_async", 5000, lambda: ray.get([nothing.remote() for _ in range(5000)]))
echo = Echo.remote(); ray.get([echo.same.remote() for _ in range(100)])
rate("calls_sync", 1000, lambda: [ray.get(echo.same.remote()) for _ in range(1000)])
rate("calls_async", 5000, lambda: ray.get([echo.same.remote() for _ in range(5000)]))
rate("chain", 1000, chain)
rate("nested", 1000, lambda: ray.get([nested.remote(100) for _ in range(10)]))
mebi = np.ones(1 << 20, np.uint8)
rate("mebi", 300, lambda: ray.get([size.remote(mebi) for _ in range(300)]))
streaming = stream.options(num_returns="streaming")
rate("items", 1000, lambda: [ray.get(item) for item in streaming.remote(1000)])
loop = Loop.options(max_concurrency=100).remote(); ray.get(loop.same.remote())
rate("loop_sync", 1000, lambda: [ray.get(loop.same.remote()) for _ in range(1000)])
rate("loop_async", 5000, lambda: ray.get([loop.same.remote() for _ in range(5000)]))
threads = Echo.options(max_concurrency=4).remote(); ray.get(threads.same.remote())
rate("threaded", 5000, lambda: ray.get([threads.same.remote() for _ in range(5000)]))
four = [Echo.remote() for _ in range(4)]; callers = [Echo.remote() for _ in range(4)]
ray.get([actor.same.remote() for actor in four + callers])
rate("one_to_four", 5000, lambda: ray.get([four[i % 4].same.remote(i) for i in range(5000)]))
rate("four_to_four", 4000, lambda: ray.get([c.drive.remote(four, 1000) for c in callers]))
for actor in [*four, *callers, loop, threads]: ray.kill(actor)
rate("put_small", 2000, lambda: [ray.put(i) for i in range(2000)])
refs = [ray.put(i) for i in range(2000)]
rate("get_small", 2000, lambda: [ray.get(ref) for ref in refs])
rate("result_100MB", 1, lambda: ray.get(make.remote(100_000_000)).nbytes)
rate("wait", 1000, one_by_one)

def create():
    actors = [Echo.remote() for _ in range(8)]; ray.get([actor.same.remote() for actor in actors])
    return actors

made = []
for _ in range(3):
    t = time.perf_counter(); actors = create(); made.append(8 / (time.perf_counter() - t))
    for actor in actors: ray.kill(actor)
    time.sleep(1)
out["create"] = median(made)
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
        row("script start to first result", "first_result", "s", 20),
        row("init", "init", "s", 30),
        row("shutdown", "shutdown", "s", 20),
        row("tasks, one at a time", "tasks_sync", "/s", 12),
        row("5,000 tasks at once", "tasks_async", "/s", 12),
        row("1,000 tasks in a chain", "chain", "/s", 12),
        row("tasks of tasks", "nested", "/s", 8),
        row("tasks with an array of 1 MiB", "mebi", "/s", 8),
        row("items of a generator", "items", "/s", 4),
        row("actor calls, one at a time", "calls_sync", "/s", 8),
        row("5,000 actor calls at once", "calls_async", "/s", 6),
        row("calls of an asyncio actor, one at a time", "loop_sync", "/s", 8),
        row("5,000 calls of an asyncio actor", "loop_async", "/s"),
        row("5,000 calls of a threaded actor", "threaded", "/s"),
        row("5,000 calls of four actors", "one_to_four", "/s", 8),
        row("four actors that call four others", "four_to_four", "/s"),
        row("actors made", "create", "/s", 30),
        row("put small values", "put_small", "/s", 20),
        row("get small values", "get_small", "/s", 5),
        row("wait, one by one over 1,000", "wait", "/s", 10),
        row("put 100 MB, cold", "put_cold", "GB/s", 2),
        row("put 100 MB, recycled memory", "put_recycled", "GB/s", 1.2),
        row("task results of 100 MB", "result_100MB", "/s", 2),
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
