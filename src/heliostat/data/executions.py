"""What datasets run in this process: each execution with its stages, as rows for people and tools."""

import contextlib
import logging
import sys
from collections.abc import Generator, Sequence
from typing import Any

from heliostat.data._states import StageState
from heliostat.data.context import DataContext
from heliostat.util.progress import Ledger

__all__ = ["ExecutionCallback", "list_executions"]

logger = logging.getLogger(__name__)

KEPT = 50

LEDGER = Ledger(KEPT)


class ExecutionCallback:
    """Told of every execution, where `DataContext.custom_execution_callback_classes` names it.

    One is made for each execution, without arguments. What it raises ends the execution.

    Example:
        >>> import heliostat as ray
        >>> class Loud(ExecutionCallback):
        ...     def after_execution_succeeds(self, executor):
        ...         print(executor.stats.stages[-1].rows_out, "rows")
        >>> context = ray.data.DataContext.get_current()
        >>> context.custom_execution_callback_classes.append(Loud)
        >>> _ = ray.data.range(3).materialize()
        3 rows
        >>> context.custom_execution_callback_classes.clear()
    """

    def before_execution_starts(self, executor: Any) -> None:
        """The plan is made, and nothing has run; the execution has its `stages`."""

    def on_execution_step(self, executor: Any) -> None:
        """Something has ended, in a worker or here."""

    def after_execution_succeeds(self, executor: Any) -> None:
        """All rows that were wanted have been given; the execution has its `stats`."""

    def after_execution_fails(self, executor: Any, error: Exception) -> None:
        """It has ended with an error."""


@contextlib.contextmanager
def told(
    executor: Any, callbacks: Sequence[ExecutionCallback], context: DataContext
) -> Generator[None]:
    """Those who asked for it are told that an execution begins, and how it ends.

    Args:
        executor: The execution.
        callbacks: Made for it.
        context: What is to be said.
    """
    if context.print_on_execution_start:
        _say("execution starts: " + " | ".join(one.name for one in executor.stages))
    for each in callbacks:
        each.before_execution_starts(executor)
    try:
        with contextlib.suppress(GeneratorExit):
            # A consumer that wants no more has had what it wanted.
            yield
    except Exception as error:
        for each in callbacks:
            each.after_execution_fails(executor, error)
        raise
    for each in callbacks:
        each.after_execution_succeeds(executor)
    if context.enable_auto_log_stats:
        _say(str(executor.stats))


def _say(text: str) -> None:
    """To the log; where that leaves it out, to its usual place: somebody has asked for it."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s", text)
    else:
        sys.stderr.write(f"{text}\n")


def list_executions() -> list[dict[str, Any]]:
    """Executions that run, and the last fifty that have ended under a dashboard.

    Returns:
        A row for each, the oldest first: its `name`, `state` (RUNNING, FINISHED, FAILED or
        STOPPED, when its consumer wanted no more), `started_at`, `seconds`, `budget_bytes`,
        `error`, and `operators`, each with rows, bytes, tasks, and whether it is held back because memory is full.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.data.executions import list_executions
        >>> rows = ray.data.range(10).map(lambda row: row).iter_rows()
        >>> _ = next(rows)
        >>> list_executions()[-1]["state"]
        'RUNNING'
        >>> rows.close()
    """
    return LEDGER.rows()


def row(
    stages: Sequence[StageState],
    budget_bytes: int,
    error: BaseException | None,
    finished: bool,
    over: bool,
) -> dict[str, Any]:
    """An execution as it is now.

    Args:
        stages: The states of its stages, as its pipeline changes them.
        budget_bytes: What its blocks may hold.
        error: What made it fail.
        finished: Whether it came to its end.
        over: Whether it has ended.
    """
    ended = "FAILED" if error is not None else "FINISHED" if finished else "STOPPED"
    operators = [_operator(state) for state in stages]
    held = sum(each["held_bytes"] for each in operators)
    for each in operators:
        each["held_back"] = held >= budget_bytes and bool(each["waiting_blocks"])
    return {
        "name": stages[-1].stage.name if stages else "",
        "state": ended if over else "RUNNING",
        "budget_bytes": budget_bytes,
        "held_bytes": held,
        "error": "" if error is None else f"{type(error).__name__}: {error}"[:2000],
        "operators": operators,
    }


def _operator(state: StageState) -> dict[str, Any]:
    # Copies: the pipeline's thread goes on meanwhile.
    ready = [bundle for made in list(state.made.values()) for bundle in made] + list(state.ready)
    running = list(state.running.values())
    held = sum(bundle.size_bytes for bundle in ready)
    return {
        "name": state.stage.name,
        "place": state.stage.where,
        "tasks": state.tasks,
        "running": len(running),
        "actors": len(state.actors),
        "retries": state.retries,
        "failed_rows": state.failed,
        "rows_in": state.rows_in,
        "rows_out": state.rows_out,
        "bytes_out": state.bytes_out,
        "busy_s": state.busy_s,
        "waiting_blocks": len(ready),
        "held_bytes": held + sum(state.cost(task.size_bytes) for task in running),
    }
