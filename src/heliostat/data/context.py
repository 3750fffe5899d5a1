"""The knobs of Data. An execution works on a copy, taken when it starts."""

import dataclasses
import threading
from typing import ClassVar

from heliostat.data.execution_options import ExecutionOptions

__all__ = ["DataContext"]


@dataclasses.dataclass(slots=True)
class DataContext:
    """What may be set about executions; ordinary work needs none of it.

    Attributes:
        target_max_block_size: No task is given more bytes of input than this.
        target_min_block_size: Work is not cut into pieces smaller than this.
        memory_budget_bytes: What one execution may hold in blocks; None takes a part of memory.
        max_errored_blocks: How many tasks may fail and be left out, -1 for any number.
        on_error: What happens to a row for which a function raises, where its verb does not say:
            `raise`, `skip`, `null` or `quarantine`.
        quarantine_path: The directory into which failing rows are written, one JSON a line.
        enable_progress_bars: Whether executions show how far they have come.
        execution_options: How executions run: limits, labels, how much progress is shown.
        enable_stats_summary_collection: Whether `list_stats_summaries` has what executions did.

    Example:
        >>> DataContext.get_current().target_max_block_size = 64 * 1024 * 1024
        >>> DataContext.get_current().target_max_block_size = 128 * 1024 * 1024
    """

    target_max_block_size: int = 128 << 20
    target_min_block_size: int = 1 << 20
    memory_budget_bytes: int | None = None
    max_errored_blocks: int = 0
    on_error: str = "raise"
    quarantine_path: str | None = None
    enable_progress_bars: bool = True
    execution_options: ExecutionOptions = dataclasses.field(default_factory=ExecutionOptions)
    enable_stats_summary_collection: bool = False

    _current: ClassVar["DataContext | None"] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def get_current(cls) -> "DataContext":
        """The context of this process, to read or to change.

        Returns:
            The one context.
        """
        with cls._lock:
            if DataContext._current is None:
                DataContext._current = DataContext()
            return DataContext._current

    def copy(self) -> "DataContext":
        """A copy, which later changes do not reach.

        Returns:
            A new context.
        """
        return dataclasses.replace(
            self, execution_options=dataclasses.replace(self.execution_options)
        )
