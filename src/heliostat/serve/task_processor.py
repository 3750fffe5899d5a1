"""Queues of tasks for deployments that work later: what an adapter is, and one on a SQLite file.

`task_consumer.py` is what deployments are marked with. An adapter knows nothing of deployments: it
has functions by name, which its consumer runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import queue
import sqlite3
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from heliostat.serve._by_path import found_at
from heliostat.serve._checks import positive, whole

logger = logging.getLogger("heliostat.serve")

_LOOK_S, _LOOK_MOST_S = 0.02, 0.1  # so often a consumer looks for tasks; at rest, more seldom
_LOCKED_S = 30.0  # how long to wait for somebody who writes
_LEASE_S = 15.0  # a consumer that has not spoken for so long is dead, and its tasks go to others
_CONCURRENCY = 8  # of a consumer that is not told otherwise


@dataclass(frozen=True)
class TaskProcessorConfig:
    """A queue of tasks.

    Args:
        queue_name: The queue.
        adapter: A TaskProcessorAdapter's class, or "module:Class".
        adapter_config: What the adapter takes; `SQLiteAdapterConfig`, or a dict of it.
        max_retries: How often a task that raises is tried again.
        failed_task_queue_name: Where a copy of a task goes that has failed for good.
        unprocessable_task_queue_name: Where one goes that no handler is for.

    Raises:
        ValueError: Without a queue, or for retries below 0.
    """

    queue_name: str
    adapter: Any = "heliostat.serve.task_processor:SQLiteTaskProcessorAdapter"
    adapter_config: Any = None
    max_retries: int | None = 3
    failed_task_queue_name: str | None = None
    unprocessable_task_queue_name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.queue_name, str) or not self.queue_name:
            raise ValueError(f"queue_name is a string, not empty; got {self.queue_name!r}")
        if self.max_retries is not None:
            whole("max_retries", self.max_retries, 0)


@dataclass(frozen=True)
class TaskResult:
    """A task as it is now.

    Args:
        id: Its id.
        status: "PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE" or "REVOKED".
        result: What its handler returned; of a failure what it raised, as text.
        created_at: When it was put into the queue, in seconds since 1970.
    """

    id: str
    status: str
    result: Any = None
    created_at: float | None = None


class TaskProcessorAdapter(ABC):
    """Puts tasks into queues and runs them; subclasses say where queues are.

    Those without an `async` way of their own are asked in a thread.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: B027 - may do nothing
        """Take the TaskProcessorConfig."""

    @abstractmethod
    def initialize(self, consumer_concurrency: int = _CONCURRENCY) -> None:
        """Make ready, for so many tasks at a time."""

    @abstractmethod
    def register_task_handle(self, func: Callable[..., Any], name: str | None = None) -> None:
        """Run this function for tasks of this name, or its own."""

    @abstractmethod
    def enqueue_task_sync(
        self, task_name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> TaskResult:
        """Put a task into the queue."""

    @abstractmethod
    def get_task_status_sync(self, task_id: str) -> TaskResult:
        """A task as it is now."""

    @abstractmethod
    def start_consumer(self, **kwargs: Any) -> None:
        """Begin to run tasks; returns at once."""

    @abstractmethod
    def stop_consumer(self, timeout: float = 10.0) -> None:
        """Finish what runs, for so long at most, and begin nothing."""

    @abstractmethod
    def cancel_task_sync(self, task_id: str) -> Any:
        """Take a task that has not begun out of the queue."""

    @abstractmethod
    def get_metrics_sync(self) -> dict[str, Any]:
        """Numbers about the queue."""

    @abstractmethod
    def health_check_sync(self) -> list[dict[str, Any]]:
        """How it is."""

    async def enqueue_task_async(
        self, task_name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> TaskResult:
        """As `enqueue_task_sync`, in an event loop."""
        return await asyncio.to_thread(self.enqueue_task_sync, task_name, args, kwargs, **options)

    async def get_task_status_async(self, task_id: str) -> TaskResult:
        """As `get_task_status_sync`, in an event loop."""
        return await asyncio.to_thread(self.get_task_status_sync, task_id)

    async def cancel_task_async(self, task_id: str) -> Any:
        """As `cancel_task_sync`, in an event loop."""
        return await asyncio.to_thread(self.cancel_task_sync, task_id)

    async def get_metrics_async(self) -> dict[str, Any]:
        """As `get_metrics_sync`, in an event loop."""
        return await asyncio.to_thread(self.get_metrics_sync)

    async def health_check_async(self) -> list[dict[str, Any]]:
        """As `health_check_sync`, in an event loop."""
        return await asyncio.to_thread(self.health_check_sync)


@dataclass(frozen=True)
class SQLiteAdapterConfig:
    """Where a queue's tasks are: a file on a local disk, for all processes of this machine.

    Args:
        path: The file; made if need be. The queues of several configs may be in one.
        retry_delay_s: How long after a failure a task is tried again.

    Raises:
        TypeError: For no path.
    """

    path: str
    retry_delay_s: float = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | Path) or not str(self.path):
            raise TypeError(f"adapter_config needs a path of a file, got {self.path!r}")
        positive("retry_delay_s", self.retry_delay_s)


class _Task(NamedTuple):
    id: str
    name: str
    arguments: str  # JSON: [args, kwargs]
    attempts: int


_TABLE = """
CREATE TABLE IF NOT EXISTS tasks (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, queue TEXT, name TEXT,
    arguments TEXT, status TEXT, result TEXT, created_at REAL, not_before REAL,
    attempts INTEGER DEFAULT 0, owner TEXT, lease REAL);
CREATE INDEX IF NOT EXISTS waiting ON tasks (queue, status, not_before);
"""
_NEXT = """
SELECT number FROM tasks WHERE queue = ? AND not_before <= ?
AND (status IN ('PENDING', 'RETRY') OR (status = 'STARTED' AND lease < ?))
ORDER BY number LIMIT 1
"""
_CLAIM = f"""
UPDATE tasks SET status = 'STARTED', attempts = attempts + 1, owner = ?, lease = ?
WHERE number = ({_NEXT})
RETURNING id, name, arguments, attempts
"""


class SQLiteTaskProcessorAdapter(TaskProcessorAdapter):
    """Queues in a SQLite file: no broker, no server, and nothing is lost when a process dies.

    Arguments and results are values of JSON. A task runs at least once: those of a consumer that
    dies go to another after a moment, as often as `max_retries` allows. The order is that of the
    queue, for those that begin.

    Args:
        config: The queue; its `adapter_config` is a SQLiteAdapterConfig or a dict of it.

    Example:
        >>> import tempfile
        >>> from heliostat.serve.schema import TaskProcessorConfig
        >>> from heliostat.serve.task_consumer import instantiate_adapter_from_config
        >>> file = tempfile.mkdtemp() + "/tasks.db"
        >>> config = TaskProcessorConfig("mail", adapter_config={"path": file})
        >>> adapter = instantiate_adapter_from_config(config)
        >>> task = adapter.enqueue_task_sync("send", kwargs={"to": "ada"})
        >>> adapter.get_task_status_sync(task.id).status
        'PENDING'
    """

    def __init__(self, config: TaskProcessorConfig) -> None:
        given = config.adapter_config
        if isinstance(given, Mapping):
            given = SQLiteAdapterConfig(**given)
        if not isinstance(given, SQLiteAdapterConfig):
            raise TypeError(
                "the adapter on SQLite takes adapter_config={'path': 'a file'}, got "
                f"{config.adapter_config!r}"
            )
        self._config = config
        self._options = given
        self._handlers: dict[str, Callable[..., Any]] = {}
        self._owner = uuid.uuid4().hex
        self._concurrency = _CONCURRENCY
        self._threads: list[threading.Thread] = []
        self._claimed: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._running: set[str] = set()  # ids of tasks that this consumer has and works at
        self._ending, self._ended = threading.Event(), threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None  # where `async` handlers run

    def initialize(self, consumer_concurrency: int = _CONCURRENCY) -> None:
        """Make the file, if need be."""
        self._concurrency = consumer_concurrency
        with self._open() as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.executescript(_TABLE)

    def register_task_handle(self, func: Callable[..., Any], name: str | None = None) -> None:
        """Run this function for tasks of this name, or its own."""
        self._handlers[name or func.__name__] = func

    def enqueue_task_sync(
        self, task_name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> TaskResult:
        """Put a task into the queue.

        Args:
            task_name: The handler's name.
            args: A list for it.
            kwargs: A dict for it.
            **options: `countdown`, seconds to wait before; `task_id`, another id than a random one.

        Raises:
            TypeError: For what is no JSON, and other options.
            ValueError: For an id that is taken.
        """
        countdown, id_ = options.pop("countdown", 0), options.pop("task_id", uuid.uuid4().hex)
        if options:
            raise TypeError(f"a task takes countdown and task_id, not {sorted(options)}")
        arguments = json.dumps([list(args or ()), dict(kwargs or {})])
        self._insert(self._config.queue_name, id_, task_name, arguments, time.time() + countdown)
        return self.get_task_status_sync(id_)

    def get_task_status_sync(self, task_id: str) -> TaskResult:
        """A task as it is now.

        Raises:
            LookupError: When there is none of this id.
        """
        row = self._one("SELECT status, result, created_at FROM tasks WHERE id = ?", task_id)
        if row is None:
            raise LookupError(f"there is no task {task_id!r} in {self._options.path}")
        status, result, created_at = row
        return TaskResult(task_id, status, json.loads(result or "null"), created_at)

    def cancel_task_sync(self, task_id: str) -> bool:
        """Take a task that has not begun out of the queue; whether it was there."""
        with self._open() as database:
            done = database.execute(
                "UPDATE tasks SET status = 'REVOKED' WHERE id = ? AND status IN ('PENDING', 'RETRY')",
                (task_id,),
            )
            return done.rowcount > 0

    def get_metrics_sync(self) -> dict[str, Any]:
        """How many tasks the queue has, by status; `queue_length` are those that wait."""
        with self._open() as database:
            rows = database.execute(
                "SELECT status, COUNT(*) FROM tasks WHERE queue = ? GROUP BY status",
                (self._config.queue_name,),
            ).fetchall()
        counts = dict(rows)
        waiting = counts.get("PENDING", 0) + counts.get("RETRY", 0)
        return {"queue_name": self._config.queue_name, "queue_length": waiting, **counts}

    def health_check_sync(self) -> list[dict[str, Any]]:
        """Whether the file can be read, and the consumer runs; one entry.

        Raises:
            sqlite3.Error: When it cannot.
        """
        self._one("SELECT COUNT(*) FROM tasks")
        alive = sum(thread.is_alive() for thread in self._threads)
        return [{"path": str(self._options.path), "status": "healthy", "threads": alive}]

    def start_consumer(self, **kwargs: Any) -> None:
        """Begin to run tasks, in threads; `async` handlers in the event loop that calls this."""
        if kwargs:
            raise TypeError(f"start_consumer takes no options here, got {sorted(kwargs)}")
        with contextlib.suppress(RuntimeError):
            self._loop = asyncio.get_running_loop()
        self._ending.clear()
        self._ended.clear()
        self._claimed = queue.SimpleQueue()
        name = f"serve-tasks-{self._config.queue_name}"
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for work in (self._feed, *[self._work] * self._concurrency)
        ]
        for thread in (*self._threads, threading.Thread(target=self._keep, name=name, daemon=True)):
            thread.start()

    def stop_consumer(self, timeout: float = 10.0) -> None:
        """Finish what runs, for so long at most, and begin nothing."""
        self._ending.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._ended.set()
        self._threads.clear()

    def _feed(self) -> None:
        """Take tasks out of the queue while somebody here is free for them."""
        pause_s = _LOOK_S
        with contextlib.closing(self._connect()) as looks:
            while not self._ending.is_set():
                task = None
                try:
                    if len(self._running) < self._concurrency and self._is_due(looks):
                        task = self._claim()
                except sqlite3.Error as error:  # locked for long, the disk is full, or no database
                    logger.warning("tasks of %s cannot be read now: %s", self._options.path, error)
                    self._ending.wait(1.0)
                if task is not None:
                    self._running.add(task.id)
                    self._claimed.put(task)
                pause_s = min(_LOOK_MOST_S, pause_s * 1.05) if task is None else _LOOK_S
                if task is None:
                    self._ending.wait(_LOOK_S if self._running else pause_s)
        for _ in range(self._concurrency):
            self._claimed.put(None)

    def _work(self) -> None:
        while (task := self._claimed.get()) is not None:
            try:
                self._run(task)
            except sqlite3.Error as error:
                logger.warning(
                    "how task %s of %r ended cannot be written, so it is run again in %g s: %s",
                    task.id, task.name, _LEASE_S, error,
                )  # fmt: skip
            finally:
                self._running.discard(task.id)  # whose lease is kept no longer

    def _is_due(self, looks: sqlite3.Connection) -> bool:
        """Whether there is a task to begin; cheaper than to take one."""
        now = time.time()
        return looks.execute(_NEXT, (self._config.queue_name, now, now)).fetchone() is not None

    def _claim(self) -> _Task | None:
        now = time.time()
        claimed = (self._owner, now + _LEASE_S, self._config.queue_name, now, now)
        row = self._one(_CLAIM, *claimed)
        return None if row is None else _Task(*row)

    def _run(self, task: _Task) -> None:
        handler = self._handlers.get(task.name)
        if handler is None:
            why = f"no handler is for {task.name!r}; there are {sorted(self._handlers)}"
            self._end(task, "FAILURE", why, self._config.unprocessable_task_queue_name)
            return
        most = self._config.max_retries
        if most is not None and task.attempts > most + 1:
            why = f"its consumer died each of {task.attempts - 1} times"
            self._end(task, "FAILURE", why, self._config.failed_task_queue_name)
            return
        args, kwargs = json.loads(task.arguments)
        try:
            result = json.dumps(self._call(handler, args, kwargs))
        except (Exception, SystemExit) as error:
            logger.warning("task %s of %r failed: %s", task.id, task.name, error, exc_info=True)
            self._failed(task, f"{type(error).__name__}: {error}")
        else:
            self._write("SUCCESS", result, 0.0, task)

    def _call(self, handler: Callable[..., Any], args: Sequence[Any], kwargs: Any) -> Any:
        value = handler(*args, **kwargs)
        if not inspect.isawaitable(value):
            return value
        if self._loop is None:
            return asyncio.run(_awaited(value))
        return asyncio.run_coroutine_threadsafe(_awaited(value), self._loop).result()

    def _keep(self) -> None:
        """Say from time to time that what this consumer has begun is still worked at."""
        while not self._ended.wait(_LEASE_S / 3):
            until = time.time() + _LEASE_S
            running = [(until, self._owner, id_) for id_ in tuple(self._running)]
            with contextlib.suppress(sqlite3.Error), self._open() as database:
                database.executemany(
                    "UPDATE tasks SET lease = ? WHERE owner = ? AND id = ? AND status = 'STARTED'",
                    running,
                )

    def _failed(self, task: _Task, why: str) -> None:
        most = self._config.max_retries
        if most is None or task.attempts <= most:
            later = time.time() + self._options.retry_delay_s
            self._write("RETRY", json.dumps(why), later, task)
        else:
            self._end(task, "FAILURE", why, self._config.failed_task_queue_name)

    def _end(self, task: _Task, status: str, why: str, aside: str | None) -> None:
        if aside is not None:
            with contextlib.suppress(ValueError):  # another consumer has put it there
                self._insert(aside, f"{task.id}@{aside}", task.name, task.arguments, time.time())
        self._write(status, json.dumps(why), 0.0, task)

    def _write(self, status: str, result: str, not_before: float, task: _Task) -> None:
        """What became of a task; nothing if it has gone to another consumer meanwhile."""
        with self._open() as database:
            database.execute(
                "UPDATE tasks SET status = ?, result = ?, not_before = ? "
                "WHERE id = ? AND owner = ? AND attempts = ?",
                (status, result, not_before, task.id, self._owner, task.attempts),
            )

    def _insert(self, into: str, id_: str, name: str, arguments: str, not_before: float) -> None:
        with self._open() as database:
            try:
                database.execute(
                    "INSERT INTO tasks (id, queue, name, arguments, status, created_at, not_before)"
                    " VALUES (?, ?, ?, ?, 'PENDING', ?, ?)",
                    (id_, into, name, arguments, time.time(), not_before),
                )
            except sqlite3.IntegrityError:
                raise ValueError(
                    f"there is a task {id_!r} in {self._options.path} already"
                ) from None

    def _one(self, query: str, *values: Any) -> Any:
        with self._open() as database:
            rows = database.execute(query, values).fetchall()
        return rows[0] if rows else None

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction: they do not go from thread to thread."""
        with contextlib.closing(self._connect()) as database, database:
            yield database

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._options.path, timeout=_LOCKED_S)


async def _awaited(value: Any) -> Any:
    return await value


def instantiate_adapter(
    config: TaskProcessorConfig, consumer_concurrency: int = _CONCURRENCY
) -> TaskProcessorAdapter:
    """The adapter that a config asks for, made and initialised.

    Raises:
        ImportError: When it is not where its path says.
        TypeError: When it is no TaskProcessorAdapter.
    """
    kind = config.adapter
    if isinstance(kind, str):
        advice = "without a broker leave it out, with adapter_config={'path': 'a file'}"
        kind = found_at(kind, "adapter", advice)
    if not (isinstance(kind, type) and issubclass(kind, TaskProcessorAdapter)):
        raise TypeError(f"an adapter is a subclass of TaskProcessorAdapter, got {kind!r}")
    made = kind(config)
    made.initialize(consumer_concurrency)
    return made
