"""Collector: the thread of the driver that looks at the session and writes its history down.

It looks once a second at most, and so seldom that it takes no more than half a hundredth of a
processor.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from heliostat.dashboard import _documents
from heliostat.dashboard._history import History
from heliostat.exceptions import RayError
from heliostat.runtime_context import Part, records

EVERY_S = 1.0
SHARE = 0.005  # of one processor
# Of what has ended, so much is taken at a look: what a burst leaves is taken later.
AT_ONCE = 300
ALL = 1 << 30
PAGES_EVERY_S = 5.0
KEPT = 600  # moments in memory

Pages = Mapping[str, Callable[[], Any]]


class Moments:
    """Numbers over time, as many as a plot needs: when there are too many, every other one goes."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._all: list[tuple[float, dict[str, float]]] = []
        self._step = 1
        self._count = 0
        self._for_now = False  # whether the newest is only there until the next comes

    def add(self, at: float, values: dict[str, float]) -> None:
        """Add a moment; the newest is always there."""
        if self._for_now:
            self._all.pop()
        self._all.append((at, values))
        if len(self._all) > self._kept:
            self._step *= 2
            self._all = [*self._all[:-1:2], self._all[-1]]
        self._for_now = self._count % self._step != 0
        self._count += 1

    def list(self) -> list[tuple[float, dict[str, float]]]:
        """All that are kept."""
        return list(self._all)


class Collector:
    """Looks and writes from when it is made until it is closed.

    Args:
        history: Where to.
        pages: What to write down whole, now and then.
    """

    def __init__(self, history: History, pages: Pages) -> None:
        self.moments = Moments()
        self._history = history
        self._pages = pages
        self._last_task = ""
        self._before: dict[str, float] = {}
        self._before_at = time.monotonic()
        self.ended()  # they are counted from now on
        # Not at once: a program that begins has better things to do.
        self._latest_pages = time.monotonic() - PAGES_EVERY_S + EVERY_S
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heliostat-history", daemon=True)
        self._thread.start()

    def catch_up(self) -> None:
        """Take all that has ended: somebody looks."""
        with self._lock:
            self._take_ended(ALL)

    def ended(self) -> dict[tuple[str, str], int]:
        """How many tasks have ended by now, by name and state, of all that the history has room for or not."""
        return {(row["name"], row["state"]): row["count"] for row in records("ended_counts")}

    def close(self) -> None:
        """Write down the end, and stop."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(RayError):
            self._look(ALL)
            self._write_pages()
            records("ended_counts", Part(most=0))  # nobody counts them from now on

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stop.wait(wait_s):
            began, clock = time.thread_time(), time.monotonic()
            try:
                self._look(AT_ONCE)
                if clock - self._latest_pages >= PAGES_EVERY_S:
                    self._latest_pages = clock
                    self._write_pages()
            except RayError:  # the session ends
                return
            wait_s = max(EVERY_S, (time.thread_time() - began) / SHARE)

    def _look(self, most: int) -> None:
        with self._lock:
            self._take_ended(most)
            values = self._numbers()
            now = time.time()
            self.moments.add(now, values)
            self._history.sample(now, values)

    def _take_ended(self, most: int) -> None:
        rows = records("ended_tasks", Part(after=self._last_task, most=most))
        if not rows:
            return
        self._last_task = rows[-1]["task_id"]
        self._history.add_tasks([_task(row) for row in rows])

    def _numbers(self) -> dict[str, float]:
        """What plots show: levels as they are, counts as rates."""
        now = time.monotonic()
        elapsed = max(1e-3, now - self._before_at)
        page = _documents.overview()
        levels: dict[str, float] = {
            "tasks running": 0, "tasks waiting": 0,
            "memory used": page["memory"]["used"], "memory on disk": page["memory"]["on_disk"],
            "processes": len(page["processes"]),
            "own memory": sum(row["own_bytes"] for row in page["processes"]),
        }  # fmt: skip
        for row in page["live"]:
            levels[f"tasks {'running' if row['state'] == 'RUNNING' else 'waiting'}"] += row["count"]
        for row in page["resources"]:
            levels[f"used {row['name']}"] = row["used"]
        by_state = self.ended().items()
        ended = sum(count for _, count in by_state)
        failed = sum(count for (_, state), count in by_state if state == "FAILED")
        counts: dict[str, float] = {"tasks ended": ended, "tasks failed": failed}
        counts["cpu"] = sum(row["cpu_s"] for row in page["processes"])
        serving = _serving(levels, counts)
        rates = {
            f"{name}/s": max(0.0, value - self._before.get(name, value)) / elapsed
            for name, value in counts.items()
        }
        for key, one in serving.items():
            _latencies(levels, key, one, self._before)
            counts.update({f"{key} <{i}": n for i, n in enumerate(one["buckets"])})
        self._before, self._before_at = counts, now
        return {**levels, **rates, "ended in all": ended, "failed in all": failed}

    def _write_pages(self) -> None:
        for name, page in self._pages.items():
            self._history.put(name, page())


def _serving(levels: dict[str, float], counts: dict[str, float]) -> dict[str, Any]:
    """Replicas and requests of each deployment, if Serve runs."""
    serving = _documents.answered()
    if not serving:
        return {}
    for key, one in serving.items():
        counts[f"requests {key}"], counts[f"errors {key}"] = one["requests"], one["errors"]
    for app in _documents.serve()["applications"]:
        for own in app["deployments"]:
            levels[f"replicas {app['name']}/{own['name']}"] = own["replicas"].get("RUNNING", 0)
    return serving


def _latencies(
    levels: dict[str, float], key: str, one: dict[str, Any], before: dict[str, float]
) -> None:
    """Percentiles of what was answered since the last look."""
    fresh = [n - before.get(f"{key} <{i}", 0.0) for i, n in enumerate(one["buckets"])]
    for share in (50, 95, 99):
        value = _documents.percentile(one["boundaries"], fresh, share / 100)
        if value is not None:
            levels[f"p{share} {key}"] = value


def _task(row: dict[str, Any]) -> tuple[Any, ...]:
    start, end = row["start_time_ms"], row["end_time_ms"]
    return (
        row["task_id"], row["name"], row["state"], row["type"], row["actor_id"], row["worker_pid"],
        row["creation_time_ms"], start, end, end - start,
    )  # fmt: skip
