"""@task_consumer and @task_handler: deployments that run the tasks of a queue.

They know an adapter by its class only; where tasks are is `task_processor.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from heliostat.serve._user_code import STARTS_CONSUMER
from heliostat.serve.task_processor import (
    TaskProcessorAdapter,
    TaskProcessorConfig,
    instantiate_adapter,
)

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])
_HANDLES = "__heliostat_task_name__"


def instantiate_adapter_from_config(
    task_processor_config: TaskProcessorConfig,
) -> TaskProcessorAdapter:
    """The adapter of a queue, to put tasks into it and ask for them, from anywhere.

    Raises:
        ImportError: When the adapter is not where its path says.
        TypeError: When it is no TaskProcessorAdapter, or its config is wrong.
    """
    return instantiate_adapter(task_processor_config)


def task_consumer(*, task_processor_config: TaskProcessorConfig) -> Callable[[C], C]:
    """Let every replica of this class run the tasks of a queue, `max_ongoing_requests` at a time.

    Args:
        task_processor_config: The queue.

    Returns:
        A decorator; `@serve.deployment` goes above it.

    Raises:
        TypeError: For something that is no class, or has no method with `@task_handler`.

    Example:
        >>> import tempfile, time
        >>> from heliostat import serve
        >>> from heliostat.serve.schema import TaskProcessorConfig
        >>> from heliostat.serve.task_consumer import (
        ...     instantiate_adapter_from_config, task_consumer, task_handler)
        >>> file = tempfile.mkdtemp() + "/tasks.db"
        >>> config = TaskProcessorConfig("doubles", adapter_config={"path": file})
        >>> @serve.deployment
        ... @task_consumer(task_processor_config=config)
        ... class Doubler:
        ...     @task_handler(name="double")
        ...     def double(self, x): return 2 * x
        >>> handle = serve.run(Doubler.bind(), route_prefix=None)
        >>> adapter = instantiate_adapter_from_config(config)
        >>> task = adapter.enqueue_task_sync("double", args=[4])
        >>> while adapter.get_task_status_sync(task.id).status != "SUCCESS": time.sleep(0.01)
        >>> adapter.get_task_status_sync(task.id).result
        8
        >>> serve.shutdown()
    """

    def decorate(target: C) -> C:
        if not inspect.isclass(target):
            raise TypeError(f"@task_consumer is for classes, got {target!r}")
        if not _handlers(target):
            raise TypeError(f"{target.__name__} has no method with @task_handler")

        def start(servable: Any, concurrency: int) -> TaskProcessorAdapter:
            adapter = instantiate_adapter(task_processor_config, concurrency)
            for attribute, name in _handlers(type(servable)).items():
                adapter.register_task_handle(getattr(servable, attribute), name)
            adapter.start_consumer()
            return adapter

        setattr(target, STARTS_CONSUMER, start)
        return target

    return decorate


@overload
def task_handler(_func: F, /) -> F: ...
@overload
def task_handler(_func: None = None, /, *, name: str | None = None) -> Callable[[F], F]: ...
def task_handler(_func: Any = None, /, *, name: str | None = None) -> Any:
    """Run this method for tasks of its name, or of another one.

    Args:
        name: The other one.

    Raises:
        ValueError: For an empty name.
    """
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise ValueError(f"a task's name is a string, not empty; got {name!r}")

    def mark(method: F) -> F:
        setattr(method, _HANDLES, name or method.__name__)
        return method

    return mark if _func is None else mark(_func)


def _handlers(kind: type) -> dict[str, str]:
    """Methods that are handlers, with the names of their tasks."""
    methods = inspect.getmembers(kind, inspect.isfunction)
    return {name: getattr(m, _HANDLES) for name, m in methods if hasattr(m, _HANDLES)}
