"""What annotations of users' sources and sinks name."""

from typing import Any, Protocol

from heliostat.data.datasource.datasink import ReturnType as WriteReturnType

__all__ = ["Connection", "WriteReturnType"]


class Connection(Protocol):
    """What `read_sql` and `write_sql` want of a connection: Python's DB API 2.

    Example:
        >>> import sqlite3
        >>> def connect() -> Connection:
        ...     return sqlite3.connect(":memory:")
        >>> connect().cursor().execute("SELECT 1").fetchone()
        (1,)
    """

    def cursor(self) -> Any:
        """What executes statements and fetches rows."""

    def commit(self) -> None:
        """Keep what was written."""

    def rollback(self) -> None:
        """Forget what was written."""

    def close(self) -> None:
        """Let go of the connection."""
