"""Actors whose calls run in threads, a pool of them for each concurrency group."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NoReturn

from heliostat._core.actors import ActorExit
from heliostat._engines.local.messages import Call

if TYPE_CHECKING:
    from heliostat._engines.local.worker.worker import Worker


def serve(worker: Worker, concurrency: int, groups: dict[str, int]) -> NoReturn:
    """The main thread reads, a pool of threads for each group runs the calls.

    Args:
        worker: The process, with its actor.
        concurrency: How many calls of no group may run at once.
        groups: The names of concurrency groups, and how many of their calls may run at once.
    """
    link = worker.link
    executors = {
        name: ThreadPoolExecutor(most, thread_name_prefix=f"actor-{name}" if name else "actor")
        for name, most in {**groups, "": concurrency or 1}.items()
    }

    def run(message: Call) -> None:
        """In a thread of a pool. A call that has begun there is not interrupted: it may ask."""
        name = worker.enter_call(message)
        if message.task in link.cancelled:
            link.cancelled.discard(message.task)
            worker.reply(worker.cancelled(message, name), message, more=False)
            return
        try:
            report = worker.attempt(message, name, worker.method, message.method)
        except ActorExit:
            report = None
        if report is None:
            worker.exit_actor()
        link.cancelled.discard(message.task)
        worker.reply(report, message, more=False)

    while True:
        while link.inbox:
            message = link.inbox.popleft()
            executors[message.group].submit(run, message)
        link.sweep()
        link.flush()
        link.wait_for_work()
