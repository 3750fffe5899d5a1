"""A relation: a SELECT and the columns it gives. Pure text; nothing here runs a query."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Relation:
    """What a query can stand on.

    Attributes:
        sql: A SELECT, or the name of a table.
        schema: Names and types as Heliostat gives them; DuckDB's own may be wider or plainer.
        is_scan: It is of files, which are better read again than kept.
    """

    sql: str
    schema: pa.Schema
    is_scan: bool = False
    # Columns that hold no NaN.
    no_nan: frozenset[str] = frozenset()

    def select(self, what: str = "*", rest: str = "") -> str:
        """A SELECT over it.

        Args:
            what: The columns.
            rest: What follows FROM.

        Returns:
            SQL.

        Example:
            >>> Relation("t", pa.schema([])).select("count(*)")
            'SELECT count(*) FROM t'
        """
        source = self.sql if self.sql.replace("_", "").isalnum() else f"({self.sql}) AS _"
        return f"SELECT {what} FROM {source} {rest}".strip()

    @property
    def names(self) -> list[str]:
        """The names of its columns."""
        return list(self.schema.names)


def quote(name: str) -> str:
    """A name as SQL writes it.

    Example:
        >>> quote("a b")
        '"a b"'
    """
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def quoted(names: Sequence[str]) -> str:
    """Names as a list of SQL.

    Example:
        >>> quoted(["a", "b"])
        '"a", "b"'
    """
    return ", ".join(map(quote, names))


def is_nan(sql: str) -> str:
    """Whether a number is NaN, as SQL. Bounds of a file do not tell: see `parquet_can_have_nan`."""
    return f"isnan({sql})"


def text(value: str) -> str:
    """A text as SQL writes it.

    Example:
        >>> text("it's")
        "'it''s'"
    """
    escaped = value.replace("'", "''")
    return f"'{escaped}'"


def clash(names: Sequence[str]) -> bool:
    """Whether two names differ only in case, which SQL takes for one name.

    Example:
        >>> clash(["a", "A"])
        True
    """
    return len({name.lower() for name in names}) < len(names)
