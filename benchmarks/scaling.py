"""How far the deciders go: queues, memory and cost of a request for 10 to 10,000 nodes.

    python -m benchmarks.scaling [--nodes 10 100 1000 10000] [--requests 20000]

The deciders are those that run: Core's Scheduler, Data's Pipeline, Serve's Router and Autoscaler. What is
around them is simulated (time, requests, tasks), so ten thousand nodes need one process. What a decision
costs is measured: CPU time of the decider for each task, block or request, with so many nodes that all of
them have work.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import statistics
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pyarrow as pa

from heliostat._core.ids import nth
from heliostat._core.options import UNIT
from heliostat._engines.local import messages as m
from heliostat._engines.local.scheduling.scheduler import Scheduler
from heliostat.data._messages import BlockReady, Launch, Wanted
from heliostat.data._optimize import Stage
from heliostat.data._pipeline import Pipeline
from heliostat.data._plan import MapBatches, Tasks, Udf
from heliostat.data.block import Bundle
from heliostat.serve._autoscaler import Autoscaler, Measured
from heliostat.serve._router import Router
from heliostat.serve.autoscaling import AutoscalingConfig, DeploymentID

SERVICE_S = 0.01  # of a request, on average
BUSY = 0.8  # share of the time that a replica works
ONGOING = 5  # requests that a replica takes at a time


class Cost(NamedTuple):
    """Of one decision, and of knowing all nodes."""

    decision_us: float
    bytes_per_node: float


class Queues(NamedTuple):
    """What requests find: how many are before them at their replica."""

    mean: float
    longest: int


def measured(build: Callable[[], Callable[[], int]], nodes: int) -> Cost:
    """The cost of what `build` makes: it sets a decider up, and gives what decides; that says how often."""
    build()  # loads what it needs
    tracemalloc.start()
    decide = build()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    began = time.process_time()
    decisions = decide()
    return Cost((time.process_time() - began) / decisions * 1e6, size / nodes)


def scheduler(nodes: int, decisions: int) -> Callable[[], Callable[[], int]]:
    """Core's: a task ends on one of the nodes, its result is dropped, and the next is submitted."""

    def build() -> Callable[[], int]:
        hub, running = Scheduler({"CPU": nodes * UNIT}), deque[tuple[int, bytes]]()
        shape, nothing = (("CPU", UNIT),), (m.INLINE, b"", (), ())
        numbers = itertools.count(1)

        def tell(event: m.Message) -> None:
            """What workers are sent, they run: at once, and in order."""
            for command in hub.handle(event, 0.0):
                if isinstance(command, m.Send) and isinstance(command.message, m.Run):
                    running.append((command.proc, command.message.task))

        def submit() -> None:
            task = next(numbers).to_bytes(12, "big") + bytes(4)
            tell(
                m.Submitted(
                    m.DRIVER, task, b"f", "f", 1, shape, 0, False, nothing, None, (), (), None, None, 0,
                    b"",
                )
            )  # fmt: skip

        for _ in range(nodes):
            submit()

        def decide() -> int:
            for _ in range(decisions):
                proc, task = running.popleft()
                tell(m.Finished(proc, task, (nothing,), 0, SERVICE_S, ()))
                tell(m.Dropped(m.DRIVER, ((nth(task, 0), 1),)))
                submit()
            return decisions

        return decide

    return build


def pipeline(nodes: int, decisions: int) -> Callable[[], Callable[[], int]]:
    """Data's: a task has its block ready, the block is taken, and the next task starts."""

    def build() -> Callable[[], int]:
        block = Bundle.of(pa.table({"a": [1]}))
        source = (block,) * (nodes + decisions)
        step = MapBatches(Udf(abs), Tasks(), None, "numpy", False)
        decider = Pipeline([Stage("map", Tasks(), (step,), source)], 1 << 40, nodes)
        launched = [c for c in decider.handle(Wanted(1 << 30), 0.0) if isinstance(c, Launch)]

        def decide() -> int:
            for number in range(decisions):
                ready = launched[number]
                event = BlockReady(ready.stage, ready.task, ready.attempt, (block,))
                launched.extend(c for c in decider.handle(event, 0.0) if isinstance(c, Launch))
            return decisions

        return decide

    return build


def router(nodes: int, decisions: int) -> Callable[[], Callable[[], int]]:
    """Serve's: a request gets a replica, one on each node, and an earlier one is over."""

    def build() -> Callable[[], int]:
        decider, rng = Router(), random.Random(0)
        decider.publish([f"replica-{number}" for number in range(nodes)], ONGOING, -1)

        def decide() -> int:
            ongoing = [decider.assign(rng) or "" for _ in range(nodes // 2)]
            for number in range(decisions):
                decider.finished(ongoing[number % len(ongoing)])
                ongoing[number % len(ongoing)] = decider.assign(rng) or ""
            return decisions

        return decide

    return build


def autoscaler(nodes: int, decisions: int) -> Callable[[], Callable[[], int]]:
    """Serve's: a measurement of all replicas comes in, one on each node."""

    def build() -> Callable[[], int]:
        config = AutoscalingConfig(min_replicas=1, max_replicas=10 * nodes)
        decider = Autoscaler(DeploymentID("d", "a"), config, nodes)
        loads = {f"replica-{number}": BUSY for number in range(nodes)}
        decider.handle(Measured(loads, 0), 0.0)

        def decide() -> int:
            for number in range(1, decisions + 1):
                decider.handle(Measured(dict(loads), 0), number * config.metrics_interval_s)
            return decisions

        return decide

    return build


def queues(replicas: int, callers: int, requests: int, seed: int = 0) -> Queues:
    """How long requests wait where each of so many callers knows its own requests only."""
    rng = random.Random(seed)
    routers = [Router() for _ in range(callers)]
    names = [f"replica-{number}" for number in range(replicas)]
    for one in routers:
        one.publish(names, 1 << 30, -1)
    ahead, free_at, found = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0), []
    ends: list[tuple[float, str, int]] = []
    now, rate = 0.0, replicas * BUSY / SERVICE_S
    for _ in range(requests):
        now += rng.expovariate(rate)
        while ends and ends[0][0] <= now:
            _, replica, caller = heapq.heappop(ends)
            ahead[replica] -= 1
            routers[caller].finished(replica)
        caller = rng.randrange(callers)
        replica = routers[caller].assign(rng) or ""
        found.append(ahead[replica])
        ahead[replica] += 1
        free_at[replica] = max(now, free_at[replica]) + rng.expovariate(1 / SERVICE_S)
        heapq.heappush(ends, (free_at[replica], replica, caller))
    settled = found[len(found) // 2 :]
    return Queues(statistics.fmean(settled), max(settled))


DECIDERS = {
    "scheduler": scheduler,
    "pipeline": pipeline,
    "router": router,
    "autoscaler": autoscaler,
}


def main(nodes: Sequence[int], requests: int) -> None:
    """Print a table of costs, and one of queues."""
    print(f"{'nodes':>8}" + "".join(f"{name + ', us':>16}{'B/node':>9}" for name in DECIDERS))
    for number in nodes:
        decisions = max(20, min(requests, 20_000_000 // number))
        costs = [
            measured(make(number, 20 if name == "autoscaler" else decisions), number)
            for name, make in DECIDERS.items()
        ]
        cells = "".join(f"{c.decision_us:>16,.1f}{c.bytes_per_node:>9,.0f}" for c in costs)
        print(f"{number:>8,}{cells}", flush=True)
    print("\nrequests before one's own, at 80 % load (mean, longest), by how many processes call")
    for number in [n for n in nodes if n <= 1000]:
        for callers in (1, 10, number):
            seen = queues(
                number, callers, max(requests, 40 * number) if number <= 100 else requests
            )
            print(f"{number:>8,} replicas{callers:>8,} callers{seen.mean:>9.2f}{seen.longest:>5}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--requests", type=int, default=20_000)
    options = parser.parse_args()
    main(options.nodes, options.requests)
