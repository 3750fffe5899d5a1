"""What executions did, as values: for programs that look at numbers instead of text."""

import threading
from collections import deque
from dataclasses import dataclass

from heliostat.data._stats import Stats

__all__ = ["DatasetStatsSummary", "OperatorStatsSummary", "list_stats_summaries"]

# The latest ones; a program that runs for ever does not fill memory with them.
KEPT = 1000


@dataclass(frozen=True)
class OperatorStatsSummary:
    """What one stage did.

    Attributes:
        operator_name: Its name, as in `stats()`.
        place: Where it ran: in place, in workers or in actors.
        tasks: How many tasks it had.
        retries: How many of them were run again.
        total_input_num_rows: Rows it took.
        total_output_num_rows: Rows it gave.
        total_output_bytes: Their bytes.
        failed_rows: Rows that were left out because a function raised.
        time_total_s: How long its tasks ran, added up.
    """

    operator_name: str
    place: str
    tasks: int
    retries: int
    total_input_num_rows: int
    total_output_num_rows: int
    total_output_bytes: int
    failed_rows: int
    time_total_s: float

    @property
    def num_rows_per_task_s(self) -> float:
        """Rows for each second that a task of it ran.

        Returns:
            Rows a second; 0 if it took no time.
        """
        return self.total_output_num_rows / self.time_total_s if self.time_total_s else 0.0


@dataclass(frozen=True)
class DatasetStatsSummary:
    """What one execution did.

    Attributes:
        dataset_uuid: The dataset's identifier, as `get_dataset_id` gives it.
        base_name: The dataset's name, or that of its last stage.
        operators_stats: Its stages, in order.
        time_total_s: From the first block asked for to the last one given.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.range(10).map(lambda row: row).materialize()
        >>> ds.get_stats_summary().operators_stats[-1].total_output_num_rows
        10
    """

    dataset_uuid: str
    base_name: str
    operators_stats: tuple[OperatorStatsSummary, ...]
    time_total_s: float
    text: str

    @property
    def num_rows(self) -> int:
        """Rows that came out at its end.

        Returns:
            The number.
        """
        return self.operators_stats[-1].total_output_num_rows if self.operators_stats else 0

    def to_string(self) -> str:
        """The same as text.

        Returns:
            What `stats()` says.
        """
        return self.text


def summarize(stats: Stats | None, identifier: str, name: str | None) -> DatasetStatsSummary:
    """What an execution did.

    Args:
        stats: Its counters; None if there was none.
        identifier: Of the dataset.
        name: Of the dataset.

    Returns:
        The summary; without stages if nothing was run.
    """
    stages = [] if stats is None else stats.stages
    operators = tuple(
        OperatorStatsSummary(
            operator_name=one.name,
            place=one.place,
            tasks=one.tasks,
            retries=one.retries,
            total_input_num_rows=one.rows_in,
            total_output_num_rows=one.rows_out,
            total_output_bytes=one.bytes_out,
            failed_rows=one.failed,
            time_total_s=one.busy_s,
        )
        for one in stages
    )
    return DatasetStatsSummary(
        dataset_uuid=identifier,
        base_name=name or (operators[-1].operator_name if operators else ""),
        operators_stats=operators,
        time_total_s=0.0 if stats is None else stats.wall_s,
        text="Nothing was run yet." if stats is None else str(stats),
    )


_summaries: deque[DatasetStatsSummary] = deque(maxlen=KEPT)
_lock = threading.Lock()


def record(summary: DatasetStatsSummary) -> None:
    """Keep one for `list_stats_summaries`.

    Args:
        summary: Of an execution that is over.
    """
    with _lock:
        _summaries.append(summary)


def list_stats_summaries() -> list[DatasetStatsSummary]:
    """What the executions of this process did, if `enable_stats_summary_collection` was set.

    Returns:
        Summaries in the order in which they ended, of the last thousand.

    Example:
        >>> import heliostat as ray
        >>> context = ray.data.DataContext.get_current()
        >>> context.enable_stats_summary_collection = True
        >>> _ = ray.data.range(5).map(lambda row: row).materialize()
        >>> list_stats_summaries()[-1].num_rows
        5
        >>> context.enable_stats_summary_collection = False
    """
    with _lock:
        return list(_summaries)
