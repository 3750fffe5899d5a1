"""How far the deciders go: queues, memory and cost of a request for 10 to 10,000 nodes.

    python -m benchmarks.scaling [--nodes 10 100 1000 10000] [--requests 20000] [--write]

The deciders are those that run: Core's Scheduler, Data's Pipeline, Serve's Router and Autoscaler. What is
around them is simulated (time, requests, tasks), so ten thousand nodes need one process. Measured on this
machine are the CPU time of a decision with so many nodes that all of them have work, and what the
driver of a session here spends on a task, block or request altogether. `--write` puts the tables
into docs/scaling.md.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import os
import random
import re
import resource
import statistics
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

import heliostat as ray
from heliostat import data, serve
from heliostat._core.ids import nth
from heliostat._core.options import UNIT
from heliostat._engines.local import messages as m
from heliostat._engines.local.scheduling import worker_scheduler
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
WORK_S = 1.0  # of a task, on average; a node has one at a time
PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"


class Cost(NamedTuple):
    """Of one decision, and of knowing all nodes."""

    decision_us: float
    bytes_per_node: float


class Queues(NamedTuple):
    """What requests find: how many are before them at their replica."""

    mean: float
    longest: int


class Load(NamedTuple):
    """What events find: how many are before them at the decider; and the share of nodes at work."""

    mean: float
    longest: int
    busy: float


class Begun(NamedTuple):
    """A decider that has given work to all nodes.

    `ended` tells it that a piece of work has ended, and gives the pieces that begin.
    """

    works: deque[Any]
    ended: Callable[[Any], Iterable[Any]]


def measured(begin: Callable[[], Begun], nodes: int, decisions: int) -> Cost:
    """The cost of what `begin` sets up."""
    tracemalloc.start()
    works, ended = begin()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    began = time.process_time()
    for _ in range(decisions):
        works.extend(ended(works.popleft()))
    return Cost((time.process_time() - began) / decisions * 1e6, size / nodes)


def scheduler(nodes: int, decisions: int) -> Begun:
    """Core's: a task ends on one of the nodes, its result is dropped, and the next is submitted."""
    # A session on one machine starts no more than 512 workers; here each node has one.
    worker_scheduler.MOST_WORKERS = max(worker_scheduler.MOST_WORKERS, nodes)
    hub, running = Scheduler({"CPU": nodes * UNIT}), deque[tuple[int, bytes]]()
    shape, nothing = (("CPU", UNIT),), (m.INLINE, b"", (), ())
    numbers = itertools.count(1)

    def tell(event: m.Message) -> list[tuple[int, bytes]]:
        return [
            (command.proc, command.message.task)
            for command in hub.handle(event, 0.0)
            if isinstance(command, m.Send) and isinstance(command.message, m.Run)
        ]

    def submit() -> list[tuple[int, bytes]]:
        task = next(numbers).to_bytes(12, "big") + bytes(4)
        return tell(
            m.Submitted(
                m.DRIVER, task, b"f", "f", 1, shape, 0, False, nothing, None, (), (), None, None, 0,
                b"",
            )
        )  # fmt: skip

    def ended(work: tuple[int, bytes]) -> list[tuple[int, bytes]]:
        proc, task = work
        begun = tell(m.Finished(proc, task, (nothing,), 0, SERVICE_S, ()))
        return begun + tell(m.Dropped(m.DRIVER, ((nth(task, 0), 1),))) + submit()

    for _ in range(nodes):
        running.extend(submit())
    return Begun(running, ended)


def pipeline(nodes: int, decisions: int) -> Begun:
    """Data's: a task has its block ready, the block is taken, and the next task starts."""
    block = Bundle.of(pa.table({"a": [1]}))
    source = (block,) * (nodes + decisions)
    step = MapBatches(Udf(abs), Tasks(), None, "numpy", False)
    decider = Pipeline([Stage("map", Tasks(), (step,), source)], 1 << 40, nodes)

    def launched(event: Any) -> list[Launch]:
        return [one for one in decider.handle(event, 0.0) if isinstance(one, Launch)]

    def ended(work: Launch) -> list[Launch]:
        return launched(BlockReady(work.stage, work.task, work.attempt, (block,)))

    return Begun(deque(launched(Wanted(1 << 30))), ended)


def router(nodes: int, decisions: int) -> Begun:
    """Serve's: a request gets a replica, one on each node, and an earlier one is over."""
    decider, rng = Router(), random.Random(0)
    decider.publish([f"replica-{number}" for number in range(nodes)], ONGOING, -1)

    def ended(replica: str) -> list[str]:
        decider.finished(replica)
        return [decider.assign(rng) or ""]

    # Of the callers this is one, which has a few requests on the way.
    return Begun(deque(decider.assign(rng) or "" for _ in range(min(nodes, 100) // 2)), ended)


def autoscaler(nodes: int, decisions: int) -> Begun:
    """Serve's: a measurement of all replicas comes in, one on each node."""
    config = AutoscalingConfig(min_replicas=1, max_replicas=10 * nodes)
    decider = Autoscaler(DeploymentID("d", "a"), config, nodes)
    loads = {f"replica-{number}": BUSY for number in range(nodes)}

    def ended(number: int) -> list[int]:
        decider.handle(Measured(dict(loads), 0), number * config.metrics_interval_s)
        return [number + 1]

    ended(0)
    return Begun(deque([1]), ended)


def simulate(begun: Begun, decision_s: float, events: int, seed: int = 0) -> Load:
    """What happens where one process decides for all nodes, an event after the other."""
    works, ended = begun
    rng, nodes, numbers = random.Random(seed), len(works), itertools.count()
    ends: list[tuple[float, int, Any]] = []
    waiting, found, at_work = deque[float](), list[int](), list[int]()

    def start(works: Iterable[Any], now: float) -> None:
        for work in works:
            heapq.heappush(ends, (now + rng.expovariate(1 / WORK_S), next(numbers), work))

    start(works, 0.0)
    free_at = 0.0
    for _ in range(events):
        now, _, work = heapq.heappop(ends)
        while waiting and waiting[0] <= now:
            waiting.popleft()
        found.append(len(waiting))
        at_work.append(nodes - len(waiting))
        free_at = max(now, free_at) + decision_s
        waiting.append(free_at)
        start(ended(work), free_at)
    half = len(found) // 2
    busy = statistics.fmean(at_work[half:]) / nodes
    return Load(statistics.fmean(found[half:]), max(found[half:]), busy)


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


DECIDERS: Mapping[str, Callable[[int, int], Begun]] = {
    "scheduler": scheduler,
    "pipeline": pipeline,
    "router": router,
    "autoscaler": autoscaler,
}
# Events a second at one decider, for each node.
RATES: Mapping[str, tuple[str, Callable[[int], float]]] = {
    "scheduler": ("scheduler", lambda nodes: nodes / WORK_S),
    "pipeline": ("pipeline", lambda nodes: nodes / WORK_S),
    "router, one for all": ("router", lambda nodes: nodes * BUSY / SERVICE_S),
    "router, one a node": ("router", lambda _: BUSY / SERVICE_S),
    "autoscaler": ("autoscaler", lambda _: 1 / AutoscalingConfig().metrics_interval_s),
}


def of_this_machine(count: int = 500) -> dict[str, float]:
    """CPU time that the driver of a session here spends on a task, a block and a request, in us."""

    @ray.remote(num_cpus=1)
    def task() -> None:
        pass

    @serve.deployment(ray_actor_options={"num_cpus": 0}, max_ongoing_requests=50)
    class Echo:
        async def __call__(self) -> None:
            pass

    def tasks() -> None:
        ray.get([task.remote() for _ in range(count)])

    def blocks() -> None:
        data.range(count, override_num_blocks=count).map_batches(lambda batch: batch).count()

    def requests() -> None:
        for _ in range(count // 50):
            for response in [handle.remote() for _ in range(50)]:
                response.result()

    ray.init(num_cpus=2, include_dashboard=False)
    spent = {"scheduler": _driver_us(tasks, count), "pipeline": _driver_us(blocks, count)}
    handle = serve.run(Echo.bind(), name="constants", route_prefix=None)
    spent["router"] = _driver_us(requests, count)
    serve.shutdown()
    ray.shutdown()
    return {**spent, "autoscaler": 0.0}


def _driver_us(work: Callable[[], None], count: int) -> float:
    work()  # what is slow once
    began = _cpu_s()
    work()
    return (_cpu_s() - began) / count * 1e6


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def altogether_us(constant: float, costs: Sequence[Cost]) -> list[float]:
    """What is spent on an event, decided and carried out, with so many nodes each."""
    return [
        max(constant, costs[0].decision_us) + c.decision_us - costs[0].decision_us for c in costs
    ]


def full_at(nodes: Sequence[int], loads: Sequence[float]) -> float | None:
    """The number of nodes where a decider has as much to do as it can; None where it never has."""
    points = [(math.log(n), math.log(load)) for n, load in zip(nodes, loads, strict=True)]
    for (n0, load0), (n1, load1) in itertools.pairwise(points):
        if load1 >= 0 and load1 > load0:
            return math.exp(n0 + (n1 - n0) * (0 - load0) / (load1 - load0))
    return None


def costs_table(costs: Mapping[str, Sequence[Cost]], nodes: Sequence[int]) -> list[str]:
    """CPU time of a decision and memory, by number of nodes."""
    lines = [f"{'nodes':>8}" + "".join(f"{name + ', us':>16}{'B/node':>9}" for name in costs)]
    for at, number in enumerate(nodes):
        cells = (
            f"{c[at].decision_us:>16,.1f}{c[at].bytes_per_node:>9,.0f}" for c in costs.values()
        )
        lines.append(f"{number:>8,}" + "".join(cells))
    return lines


def loads_table(
    costs: Mapping[str, Sequence[Cost]], constants: Mapping[str, float], nodes: Sequence[int]
) -> list[str]:
    """The share of a core that each decider needs, with all that carries its decisions out."""
    lines = [f"{'share of a core':<22}" + "".join(f"{n:>10,}" for n in nodes) + f"{'full at':>12}"]
    for name, (decider, rate) in RATES.items():
        spent = altogether_us(constants[decider], costs[decider])
        loads = [rate(n) * us / 1e6 for n, us in zip(nodes, spent, strict=True)]
        full = full_at(nodes, loads)
        end = f">{nodes[-1]:,}" if full is None else f"{float(f'{full:.2g}'):,.0f}"
        lines.append(f"{name:<22}" + "".join(f"{load:>10.2%}" for load in loads) + f"{end:>12}")
    return lines


def events_table(
    costs: Mapping[str, Sequence[Cost]], constants: Mapping[str, float], nodes: Sequence[int]
) -> list[str]:
    """Simulated: how long the queues before scheduler and pipeline are, and what the nodes get."""
    lines = [f"{'nodes':>8}  {'decider':<12}{'MB':>7}{'queue':>9}{'longest':>9}{'nodes busy':>12}"]
    for name in ("scheduler", "pipeline"):
        spent = altogether_us(constants[name], costs[name])
        for number, us, cost in zip(nodes, spent, costs[name], strict=True):
            events = max(200, 3 * number)  # until what waits has settled
            seen = simulate(DECIDERS[name](number, events), us / 1e6, events)
            lines.append(
                f"{number:>8,}  {name:<12}{number * cost.bytes_per_node / 1e6:>7.1f}"
                f"{seen.mean:>9,.1f}{seen.longest:>9,}{seen.busy:>12.0%}"
            )
    return lines


def queues_table(nodes: Sequence[int], requests: int) -> list[str]:
    """Simulated: what requests find before them, by how many processes call."""
    lines = [f"{'replicas':>9}{'callers':>9}{'ahead':>9}{'longest':>9}"]
    for number in nodes:
        count = max(requests, 40 * number) if number <= 1000 else requests
        for callers in sorted({1, min(10, number), number}) if number <= 1000 else ():
            seen = queues(number, callers, count)
            lines.append(f"{number:>9,}{callers:>9,}{seen.mean:>9.2f}{seen.longest:>9}")
    return lines


def tables(nodes: Sequence[int], requests: int) -> dict[str, list[str]]:
    """All that is printed, by name."""
    constants = of_this_machine()
    costs: dict[str, list[Cost]] = {name: [] for name in DECIDERS}
    for decider in DECIDERS.values():
        decider(1, 1)  # loads what it needs
    for number in nodes:
        for name, decider in DECIDERS.items():
            count = 20 if name == "autoscaler" else max(200, min(requests, 2_000_000 // number))
            costs[name].append(measured(lambda: decider(number, count), number, count))  # noqa: B023
    units = {"scheduler": "task", "pipeline": "block", "router": "request"}
    return {
        "constants": [f"a {unit:<10}{constants[name]:>8,.0f} us" for name, unit in units.items()],
        "costs": costs_table(costs, nodes),
        "loads": loads_table(costs, constants, nodes),
        "events": events_table(costs, constants, nodes),
        "queues": queues_table(nodes, requests),
    }


def put(page: str, name: str, lines: Sequence[str]) -> str:
    """The page with another table of that name."""
    between = re.compile(f"(<!-- {name} -->\n\n```text\n).*?(```)", flags=re.DOTALL)
    if not between.search(page):
        raise ValueError(f"the page has no <!-- {name} --> with a block of text below it")
    return between.sub(lambda found: found[1] + "\n".join(lines) + "\n" + found[2], page)


def main(nodes: Sequence[int], requests: int, *, write: bool) -> None:
    """Print the tables; write them into the page."""
    os.environ.setdefault("HELIOSTAT_PROGRESS", "0")
    for name, lines in tables(nodes, requests).items():
        print(f"\n{name}\n" + "\n".join(lines), flush=True)
        if write:
            PAGE.write_text(put(PAGE.read_text(), name, lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--write", action="store_true", help="into docs/scaling.md")
    options = parser.parse_args()
    main(options.nodes, options.requests, write=options.write)
