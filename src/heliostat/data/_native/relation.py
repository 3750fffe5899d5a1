"""A relation: a SELECT and the columns it gives. Pure text; nothing here runs a query."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

# SQL has no name without letters; Arrow has, as for the index that pandas writes into a CSV.
UNNAMED = "heliostat.unnamed"


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
        source = self.sql if self._is_name else f"({self.sql}) AS _"
        return f"SELECT {what} FROM {source} {rest}".strip()

    @property
    def statement(self) -> str:
        """What gives its rows, in their order."""
        return self.select() if self._is_name else self.sql

    @property
    def _is_name(self) -> bool:
        return self.sql.replace("_", "").isalnum()

    def numbered(self) -> tuple[str, str]:
        """A SELECT that gives the number of each row as well, and how that is called."""
        row = unused("__row", self.names)
        return self.select(f"*, row_number() OVER () AS {row}"), row

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
    escaped = (name or UNNAMED).replace('"', '""')
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


def unused(name: str, names: Sequence[str]) -> str:
    """A name of ours that none of the columns has.

    Example:
        >>> unused("__row", ["a", "__ROW"])
        '__row_'
    """
    while name in {one.lower() for one in names}:
        name += "_"
    return name


def family(kind: pa.DataType) -> str:
    """What its values are, as far as SQL would take one kind for another: the unit of a span, say.

    Example:
        >>> family(pa.int8()), family(pa.duration("s"))
        ('number', 'span')
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_duration(kind):
        return "span"
    return "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else "other"


def clash(names: Sequence[str]) -> bool:
    """Whether two names differ only in case, which SQL takes for one name.

    Example:
        >>> clash(["a", "A"])
        True
    """
    return len({name.lower() for name in names}) < len(names)
