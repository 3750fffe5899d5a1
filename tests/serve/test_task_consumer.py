"""Deployments that run the tasks of a queue; in this process, as in a replica."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from heliostat import serve
from heliostat.serve.schema import TaskProcessorConfig
from heliostat.serve.task_consumer import (
    instantiate_adapter_from_config,
    task_consumer,
    task_handler,
)


def test_an_object_of_a_consumer_runs_tasks_until_it_ends(
    tmp_path: Path, until: Callable[..., None]
):
    config = TaskProcessorConfig("mail", adapter_config={"path": str(tmp_path / "tasks.db")})

    @serve.deployment
    @task_consumer(task_processor_config=config)
    class Mail:
        def __init__(self) -> None:
            self.sent: list[str] = []

        @task_handler
        async def send(self, to: str) -> str:
            self.sent.append(to)
            return f"to {to}"

        @task_handler(name="count")
        def number(self) -> int:
            return len(self.sent)

        def all(self) -> list[str]:
            return self.sent

    handle = serve.run(Mail.bind(), _local_testing_mode=True)
    queue = instantiate_adapter_from_config(config)
    task = queue.enqueue_task_sync("send", kwargs={"to": "ada"})
    until(lambda: queue.get_task_status_sync(task.id).status == "SUCCESS")
    assert handle.all.remote().result() == ["ada"]
    counted = queue.enqueue_task_sync("count")
    until(lambda: queue.get_task_status_sync(counted.id).result == 1)
    serve.delete("default")
    assert queue.enqueue_task_sync("count").status == "PENDING"
    assert queue.get_metrics_sync()["queue_length"] == 1


def test_what_is_no_consumer_is_named():
    config = TaskProcessorConfig("mail")
    with pytest.raises(TypeError, match="is for classes"):
        task_consumer(task_processor_config=config)(print)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="dict has no method with @task_handler"):
        task_consumer(task_processor_config=config)(dict)
    with pytest.raises(ValueError, match="not empty"):
        task_handler(name=" ")
