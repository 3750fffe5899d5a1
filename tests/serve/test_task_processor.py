"""The queue on SQLite: every task is run, tried again, told of; and consumers die."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from heliostat.serve import task_processor
from heliostat.serve.task_consumer import instantiate_adapter_from_config
from heliostat.serve.task_processor import (
    SQLiteTaskProcessorAdapter,
    TaskProcessorAdapter,
    TaskProcessorConfig,
    TaskResult,
)


def made(tmp_path: Path, queue: str = "q", **options: Any) -> SQLiteTaskProcessorAdapter:
    where = {"path": str(tmp_path / "tasks.db"), "retry_delay_s": 0.001}
    config = TaskProcessorConfig(queue, adapter_config=where, **options)
    adapter = instantiate_adapter_from_config(config)
    assert isinstance(adapter, SQLiteTaskProcessorAdapter)
    return adapter


@pytest.fixture
def consume() -> Iterator[Callable[..., None]]:
    """Starts consumers, which end with the test."""
    started: list[SQLiteTaskProcessorAdapter] = []

    def start(adapter: SQLiteTaskProcessorAdapter, **handlers: Callable[..., Any]) -> None:
        for name, function in handlers.items():
            adapter.register_task_handle(function, name)
        started.append(adapter)
        adapter.start_consumer()

    yield start
    for adapter in started:
        adapter.stop_consumer()


def test_tasks_run_once_each_by_however_many_consumers(
    tmp_path: Path, consume: Callable[..., None], until: Callable[..., None]
):
    ran: list[int] = []
    producer = made(tmp_path)
    tasks = [producer.enqueue_task_sync("note", args=[n]) for n in range(30)]
    assert tasks[0].status == "PENDING"
    assert producer.get_metrics_sync()["queue_length"] == 30

    def note(n: int) -> int:
        ran.append(n)
        return n * n

    for _ in range(3):
        consume(made(tmp_path), note=note)
    until(lambda: producer.get_metrics_sync().get("SUCCESS") == 30)
    assert sorted(ran) == list(range(30))
    assert [producer.get_task_status_sync(task.id).result for task in tasks[:3]] == [0, 1, 4]


def test_a_task_that_raises_is_tried_again_and_then_put_aside(
    tmp_path: Path, consume: Callable[..., None], until: Callable[..., None]
):
    tries: list[str] = []

    def fail(who: str) -> None:
        tries.append(who)
        raise ValueError(f"no {who}")

    adapter = made(
        tmp_path,
        max_retries=2,
        failed_task_queue_name="failed",
        unprocessable_task_queue_name="odd",
    )
    consume(adapter, fail=fail)
    task = adapter.enqueue_task_sync("fail", kwargs={"who": "ada"})
    odd = adapter.enqueue_task_sync("unknown")
    until(lambda: adapter.get_metrics_sync().get("FAILURE") == 2)
    assert tries == ["ada"] * 3
    assert adapter.get_task_status_sync(task.id).result == "ValueError: no ada"
    assert "no handler is for 'unknown'" in adapter.get_task_status_sync(odd.id).result
    assert made(tmp_path, "failed").get_metrics_sync()["queue_length"] == 1
    assert made(tmp_path, "odd").get_metrics_sync()["queue_length"] == 1


def test_the_tasks_of_a_consumer_that_died_go_to_another(
    tmp_path: Path,
    consume: Callable[..., None],
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(task_processor, "_LEASE_S", 0.0)
    dead = made(tmp_path)
    task = dead.enqueue_task_sync("note")
    taken = dead._claim()
    assert taken is not None
    monkeypatch.setattr(task_processor, "_LEASE_S", 15.0)
    other = made(tmp_path)
    consume(other, note=lambda: "done")
    until(lambda: other.get_task_status_sync(task.id).status == "SUCCESS")
    dead._write("FAILURE", '"late"', 0.0, taken)  # it lives after all: its word comes too late
    assert other.get_task_status_sync(task.id).result == "done"


def test_a_task_whose_end_could_not_be_written_is_run_again(
    tmp_path: Path,
    consume: Callable[..., None],
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(task_processor, "_LOCKED_S", 0.05)
    monkeypatch.setattr(task_processor, "_LEASE_S", 0.5)
    ran: list[str] = []
    adapter = made(tmp_path)
    other = sqlite3.connect(tmp_path / "tasks.db", isolation_level=None, check_same_thread=False)

    def note() -> None:
        ran.append("once more")
        if len(ran) == 1:
            other.execute("BEGIN IMMEDIATE")  # somebody else writes, for longer than we wait

    task = adapter.enqueue_task_sync("note")
    consume(adapter, note=note)
    until(lambda: ran and not adapter._running)
    other.execute("ROLLBACK")
    until(lambda: adapter.get_task_status_sync(task.id).status == "SUCCESS")
    assert len(ran) == 2
    other.close()


def test_a_handler_that_leaves_has_failed(
    tmp_path: Path, consume: Callable[..., None], until: Callable[..., None]
):
    adapter = made(tmp_path, max_retries=0)
    task = adapter.enqueue_task_sync("leave")
    consume(adapter, leave=lambda: sys.exit(3))
    until(lambda: adapter.get_task_status_sync(task.id).status == "FAILURE")
    assert adapter.get_task_status_sync(task.id).result == "SystemExit: 3"


def test_a_task_that_ends_its_consumers_is_put_aside_in_the_end(
    tmp_path: Path,
    consume: Callable[..., None],
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(task_processor, "_LEASE_S", 0.0)
    dead = made(tmp_path, max_retries=1)
    task = dead.enqueue_task_sync("note")
    assert dead._claim() is not None
    assert dead._claim() is not None
    monkeypatch.setattr(task_processor, "_LEASE_S", 15.0)
    other = made(tmp_path, max_retries=1)
    consume(other, note=lambda: "never")
    until(lambda: other.get_task_status_sync(task.id).status == "FAILURE")
    assert other.get_task_status_sync(task.id).result == "its consumer died each of 2 times"


def test_a_consumer_without_tasks_is_at_rest(tmp_path: Path, consume: Callable[..., None]):
    consume(made(tmp_path))
    before = time.process_time()
    threading.Event().wait(0.5)
    assert time.process_time() - before < 0.05


def test_async_handlers_run_and_tasks_may_be_asked_for_in_a_loop(
    tmp_path: Path, consume: Callable[..., None]
):
    async def where(x: int) -> list[Any]:
        return [x, threading.current_thread() is threading.main_thread()]

    async def go() -> TaskResult:
        adapter = made(tmp_path)
        consume(adapter, where=where)
        task = await adapter.enqueue_task_async("where", [3])
        async with asyncio.timeout(20):
            while (found := await adapter.get_task_status_async(task.id)).status != "SUCCESS":  # noqa: ASYNC110 - it is in a file
                await asyncio.sleep(0.01)
        assert (await adapter.get_metrics_async())["SUCCESS"] == 1
        assert (await adapter.health_check_async())[0]["status"] == "healthy"
        assert not await adapter.cancel_task_async(task.id)
        adapter.stop_consumer()
        return found

    assert asyncio.run(go()).result == [3, True]


def test_a_task_that_has_not_begun_can_be_taken_back_or_wait(tmp_path: Path):
    adapter = made(tmp_path)
    task = adapter.enqueue_task_sync("note", task_id="mine")
    assert adapter.cancel_task_sync("mine")
    assert adapter.get_task_status_sync(task.id).status == "REVOKED"
    adapter.enqueue_task_sync("note", countdown=60)
    assert adapter._claim() is None


def test_wrong_tasks_and_configs_are_named(tmp_path: Path):
    adapter = made(tmp_path)
    with pytest.raises(TypeError, match="not JSON serializable"):
        adapter.enqueue_task_sync("note", args=[object()])
    with pytest.raises(TypeError, match=r"countdown and task_id, not \['priority'\]"):
        adapter.enqueue_task_sync("note", priority=1)
    adapter.enqueue_task_sync("note", task_id="mine")
    with pytest.raises(ValueError, match="a task 'mine'"):
        adapter.enqueue_task_sync("note", task_id="mine")
    with pytest.raises(LookupError, match="no task 'other'"):
        adapter.get_task_status_sync("other")
    with pytest.raises(TypeError, match="no options here"):
        adapter.start_consumer(pool="threads")
    with pytest.raises(TypeError, match="needs a path"):
        made(tmp_path, "q").__class__(TaskProcessorConfig("q", adapter_config={"path": ""}))
    with pytest.raises(TypeError, match=r"adapter_config=\{'path'"):
        SQLiteTaskProcessorAdapter(TaskProcessorConfig("q"))
    with pytest.raises(ValueError, match="queue_name"):
        TaskProcessorConfig("")
    with pytest.raises(ImportError, match="without a broker leave it out"):
        instantiate_adapter_from_config(TaskProcessorConfig("q", "no.such:Adapter"))
    with pytest.raises(TypeError, match="a subclass of TaskProcessorAdapter"):
        instantiate_adapter_from_config(TaskProcessorConfig("q", dict))
    with pytest.raises(sqlite3.OperationalError):
        made(tmp_path / "nowhere")
    assert issubclass(SQLiteTaskProcessorAdapter, TaskProcessorAdapter)
