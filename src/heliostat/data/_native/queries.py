"""One class for each relational verb: from relations to a relation. They write SQL and run nothing.

Where a column only passes through, its type is kept; where DuckDB computes it, `None` in `Written`
says that DuckDB is asked.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from heliostat.data._expr import Call, Expr, columns_of
from heliostat.data._native.expression import compares_a_column, count_of, sql_of
from heliostat.data._native.relation import Relation, clash, family, is_nan, quote, quoted, text
from heliostat.data.block import require_columns


class Written(NamedTuple):
    """A query as written: SQL, and the columns; None for a type that only DuckDB knows."""

    sql: str
    columns: tuple[tuple[str, pa.DataType | None], ...] | None


class Query(Protocol):
    """What turns relations into one."""

    @property
    def name(self) -> str:
        """How it is called in plans."""

    @property
    def keeps_rows(self) -> bool:
        """Whether it gives as many rows as it takes."""

    def write(self, inputs: Sequence[Relation]) -> Written:
        """The SQL over these inputs.

        Raises:
            KeyError: if a column is not there.
            ValueError: if it cannot be said of these inputs.
        """


def kept(schema: pa.Schema) -> tuple[tuple[str, pa.DataType | None], ...]:
    """All columns of a schema, with their types."""
    return tuple((one.name, one.type) for one in schema)


def order_by(keys: Sequence[str], descending: Sequence[bool], schema: pa.Schema) -> str:
    """ORDER BY as Arrow sorts: NaN after all numbers, then null, in both directions.

    Args:
        keys: Columns.
        descending: For each of them.
        schema: Where they are.

    Returns:
        SQL.

    Example:
        >>> order_by(["a"], [True], pa.schema([("a", pa.int64())]))
        'ORDER BY "a" DESC NULLS LAST'
    """
    parts = []
    for key, down in zip(keys, descending, strict=True):
        if down and pa.types.is_floating(schema.field(key).type):
            parts.append(f"{is_nan(quote(key))} NULLS LAST")
        parts.append(f"{quote(key)} {'DESC' if down else 'ASC'} NULLS LAST")
    return "ORDER BY " + ", ".join(parts)


@dataclass(frozen=True)
class Sort:
    """In the order of the keys; rows with equal keys stay in their order."""

    keys: tuple[str, ...]
    descending: tuple[bool, ...]

    keeps_rows = True

    @property
    def name(self) -> str:
        """With the keys."""
        return f"Sort({', '.join(self.keys)})"

    def write(self, inputs: Sequence[Relation]) -> Written:
        """Numbered first, since DuckDB's sort may exchange equal rows."""
        (below,) = inputs
        require_columns(self.keys, below.names, "sort")
        numbered, row = below.numbered()
        order = order_by(self.keys, self.descending, below.schema)
        sql = f"SELECT {quoted(below.names)} FROM ({numbered}) AS _ {order}, {row}"
        return Written(sql, kept(below.schema))


@dataclass(frozen=True)
class Measure:
    """One aggregate as SQL.

    Attributes:
        name: Of the column it gives.
        sql: Over the columns.
        on: The column it is of, if any.
        kind: Its type; None asks DuckDB.
        by_row: Whether it depends on the order of the rows: its SQL may name `unused("__row")`
            then, their number. Threads give DuckDB the rows in any order.
    """

    name: str
    sql: str
    on: str | None = None
    kind: pa.DataType | None = None
    by_row: bool = False


class Measurable(Protocol):
    """What can be computed of a group of rows."""

    def _measure(self, schema: pa.Schema | None) -> Measure:
        """Itself as SQL, over rows of this schema."""

    @property
    def name(self) -> str:
        """What its column is called."""


@dataclass(frozen=True)
class Aggregate:
    """One row for each group of equal keys, in the order of the keys; one row without keys."""

    keys: tuple[str, ...]
    aggregates: tuple[Measurable, ...]
    # Off where the groups are brought into order afterwards.
    ordered: bool = True

    keeps_rows = False

    @property
    def name(self) -> str:
        """With keys and measures."""
        by = f"{', '.join(self.keys)}; " if self.keys else ""
        return f"Aggregate({by}{', '.join(one.name for one in self.aggregates)})"

    def write(self, inputs: Sequence[Relation]) -> Written:
        """GROUP BY, and ORDER BY so that the same data give the same rows."""
        (below,) = inputs
        measures = [one._measure(below.schema) for one in self.aggregates]
        columns = [one.on for one in measures if one.on is not None]
        require_columns([*self.keys, *columns], below.names, "aggregate")
        # Columns have numbers for names here: a measure may be called as a key is, or differ in
        # case only.
        parts = [f"{quote(key)} AS k{number}" for number, key in enumerate(self.keys)]
        parts += [f"{one.sql} AS m{number}" for number, one in enumerate(measures)]
        numbers = ", ".join(str(number + 1) for number in range(len(self.keys)))
        rest = ""
        if self.keys:
            order = ", ".join(f"k{number} NULLS LAST" for number in range(len(self.keys)))
            rest = f"GROUP BY {numbers}" + (f" ORDER BY {order}" if self.ordered else "")
        columns_out: list[tuple[str, pa.DataType | None]] = [
            (key, below.schema.field(key).type) for key in self.keys
        ]
        columns_out += [(one.name, one.kind) for one in measures]
        if any(one.by_row for one in measures):
            below = Relation(below.numbered()[0], below.schema)
        inner = below.select(", ".join(parts), rest)
        named = [f"k{number}" for number in range(len(self.keys))]
        named += [f"m{number}" for number in range(len(measures))]
        names = [name for name, _ in columns_out]
        renamed = ", ".join(
            f"{one} AS {quote(name)}" for one, name in zip(named, names, strict=True)
        )
        sql = inner if clash(names) else f"SELECT {renamed} FROM ({inner}) AS _"
        return Written(sql, tuple(columns_out))


# For these DuckDB looks at the second part only where the first is true.
_BETTER_FILTERED = ("and_kleene", "is_in")


@dataclass(frozen=True)
class CountWhere:
    """How many rows a predicate is true of. Mostly faster than to filter them, and count what is left."""

    predicate: Expr

    keeps_rows = False

    @property
    def name(self) -> str:
        """With the predicate."""
        return f"Count({self.predicate!r})"

    def write(self, inputs: Sequence[Relation]) -> Written:
        """A count of those for which it is true, in the way that takes the least time."""
        (below,) = inputs
        columns = (("count()", pa.int64()),)
        if isinstance(self.predicate, Call) and self.predicate.function in _BETTER_FILTERED:
            sql = sql_of(self.predicate, below.schema)
            return Written(below.select('count(*) AS "count()"', f"WHERE {sql}"), columns)
        counted = count_of(self.predicate, below.schema)
        assert counted is not None
        all_true, nan = counted
        if nan is not None and not below.no_nan.issuperset(columns_of(self.predicate)):
            # Who asks takes the second number from the first, and remembers that it was none.
            return Written(below.select(f"{all_true}, {nan}"), columns)
        return Written(below.select(f'{all_true} AS "count()"'), columns)

    def kernels_are_faster(self, schema: pa.Schema) -> bool:
        """Whether Arrow reads and counts in less time than a query: of numbers, to be looked at all."""
        if isinstance(self.predicate, Call) and self.predicate.function in _BETTER_FILTERED:
            return False
        read = columns_of(self.predicate)
        return (
            bool(read)
            and not compares_a_column(self.predicate)
            and all(pa.types.is_primitive(schema.field(name).type) for name in read)
        )


@dataclass(frozen=True)
class Distinct:
    """The first row of each kind, in the order of the rows."""

    on: tuple[str, ...] = ()

    keeps_rows = False

    @property
    def name(self) -> str:
        """With the columns, if not all."""
        return f"Distinct({', '.join(self.on)})"

    def write(self, inputs: Sequence[Relation]) -> Written:
        """The lowest row number of each group."""
        (below,) = inputs
        require_columns(self.on, below.names, "distinct")
        numbered, row = below.numbered()
        by = quoted(self.on or below.names)
        first = (
            f"SELECT * FROM ({numbered}) AS _ "
            f"QUALIFY row_number() OVER (PARTITION BY {by} ORDER BY {row}) = 1"
        )
        sql = f"SELECT {quoted(below.names)} FROM ({first}) AS _ ORDER BY {row}"
        return Written(sql, kept(below.schema))


@dataclass(frozen=True)
class Explode:
    """A row for each value of a list; one with null where there is none."""

    column: str

    keeps_rows = False

    @property
    def name(self) -> str:
        """With the column."""
        return f"Explode({self.column})"

    def write(self, inputs: Sequence[Relation]) -> Written:
        """The list unnested."""
        (below,) = inputs
        require_columns([self.column], below.names, "explode")
        kind = below.schema.field(self.column).type
        if pa.types.is_null(kind):  # lists, none of which is there
            return Written(below.select(), kept(below.schema))
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            raise ValueError(f"explode needs a column of lists, but {self.column!r} is {kind}")
        column = quote(self.column)
        values = f"CASE WHEN len({column}) > 0 THEN {column} ELSE [NULL] END"
        listed = ", ".join(
            f"unnest({values}) AS {column}" if name == self.column else quote(name)
            for name in below.names
        )
        columns = tuple(
            (one.name, kind.value_type if one.name == self.column else one.type)
            for one in below.schema
        )
        return Written(below.select(listed), columns)


@dataclass(frozen=True)
class Unpivot:
    """Columns as rows: one row for each value, with the column's name beside it."""

    on: tuple[str, ...]
    index: tuple[str, ...]
    variable: str
    value: str

    keeps_rows = False

    @property
    def name(self) -> str:
        """With the columns."""
        return f"Unpivot({', '.join(self.on)})"

    def write(self, inputs: Sequence[Relation]) -> Written:
        """A list of pairs for each row, unnested; nulls stay."""
        (below,) = inputs
        require_columns([*self.on, *self.index], below.names, "unpivot")
        values = ", ".join(map(quote, self.on))
        names = ", ".join(map(text, self.on))
        lead = f"{quoted(self.index)}, " if self.index else ""
        sql = below.select(
            f"{lead}unnest([{names}]) AS {quote(self.variable)}, "
            f"unnest([{values}]) AS {quote(self.value)}"
        )
        types = [below.schema.field(name).type for name in self.on]
        kind = types[0] if all(one == types[0] for one in types) else None
        families = {family(one) for one in types}
        if kind is None and ("span" in families or len({one == "text" for one in families}) > 1):
            told = ", ".join(f"{name}: {one}" for name, one in zip(self.on, types, strict=True))
            raise TypeError(
                f"unpivot needs columns whose values fit into one, got {told}; cast them before, as in "
                f"with_column({self.on[0]!r}, col({self.on[0]!r}).cast(pa.string()))"
            )
        columns = [(name, below.schema.field(name).type) for name in self.index]
        return Written(sql, (*columns, (self.variable, pa.string()), (self.value, kind)))


@dataclass(frozen=True)
class Pivot:
    """Values of a column as columns; one row for each index."""

    on: str
    values: tuple[object, ...]
    index: tuple[str, ...]
    aggregate: Measurable

    keeps_rows = False

    @property
    def name(self) -> str:
        """With the column."""
        return f"Pivot({self.on})"

    def write(self, inputs: Sequence[Relation]) -> Written:
        """An aggregate with a filter for each value."""
        (below,) = inputs
        measure = self.aggregate._measure(below.schema)
        named = [self.on, *self.index, *([] if measure.on is None else [measure.on])]
        require_columns(named, below.names, "pivot")
        parts = [f"k{number} AS {quote(name)}" for number, name in enumerate(self.index)]
        columns: list[tuple[str, pa.DataType | None]] = [
            (name, below.schema.field(name).type) for name in self.index
        ]
        kind = below.schema.field(self.on).type
        for value in self.values:
            name = str(value)
            same = "p IS NULL" if value is None else f"p = {_as_text(value, kind)}"
            # Grouped by the value as well below, so that any aggregate can be cut by it.
            parts.append(f"any_value(m) FILTER (WHERE {same}) AS {quote(name)}")
            columns.append((name, measure.kind))
        if not parts:
            raise ValueError(f"pivot: {self.on!r} has no values to make columns of; give an index")
        # Columns have numbers for names inside: one may be called as a value is.
        indices = [f"k{number}" for number in range(len(self.index))]
        by = [f"{quote(name)} AS {one}" for name, one in zip(self.index, indices, strict=True)]
        inner = (Relation(below.numbered()[0], below.schema) if measure.by_row else below).select(
            ", ".join([*by, f"{quote(self.on)} AS p", f"{measure.sql} AS m"]),
            "GROUP BY " + ", ".join(str(1 + number) for number in range(1 + len(indices))),
        )
        order = ", ".join(f"{one} NULLS LAST" for one in indices)
        rest = f"GROUP BY {', '.join(indices)} ORDER BY {order}" if indices else ""
        return Written(f"SELECT {', '.join(parts)} FROM ({inner}) AS _ {rest}", tuple(columns))


def _as_text(value: Any, kind: pa.DataType) -> str:
    """A value as a text of SQL that becomes what it is compared with."""
    if isinstance(value, bytes):
        return f"from_hex({text(value.hex())})"
    if pa.types.is_duration(kind):
        return text(str(pa.scalar(value, kind).cast(pa.int64())))
    return text(str(value))


# Of rows that are equal in the order these say the same: their numbers must not tell them apart.
_OF_PEERS = re.compile(r"\s*(rank|dense_rank|percent_rank|cume_dist)\s*\(", re.IGNORECASE).match


@dataclass(frozen=True)
class Window:
    """Columns computed over the rows around each row; the rows stay as they are."""

    pairs: tuple[tuple[str, str], ...]
    partition: tuple[str, ...]
    order: tuple[str, ...]
    descending: tuple[bool, ...]

    keeps_rows = True

    @property
    def name(self) -> str:
        """With the new columns."""
        return f"Window({', '.join(name for name, _ in self.pairs)})"

    def write(self, inputs: Sequence[Relation]) -> Written:
        """Window functions over a numbered relation, and back into the order of the rows."""
        (below,) = inputs
        require_columns([*self.partition, *self.order], below.names, "window")
        numbered, row = below.numbered()
        over = f"PARTITION BY {quoted(self.partition)} " if self.partition else ""
        keys = order_by(self.order, self.descending, below.schema) if self.order else ""
        by_row = f"{keys}, {row}" if keys else f"ORDER BY {row}"
        made = ", ".join(
            f"{sql} OVER ({over}{keys if keys and _OF_PEERS(sql) else by_row}) AS {quote(name)}"
            for name, sql in self.pairs
        )
        old = [name for name in below.names if name not in dict(self.pairs)]
        lead = f"{quoted(old)}, " if old else ""
        sql = f"SELECT {lead}{made} FROM ({numbered}) AS _ ORDER BY {row}"
        columns: list[tuple[str, pa.DataType | None]] = [
            (name, below.schema.field(name).type) for name in old
        ]
        return Written(sql, (*columns, *((name, None) for name, _ in self.pairs)))


_COMMENTS = re.compile(r"\A(\s|--[^\n]*(\n|\Z)|/\*.*?\*/)+", re.DOTALL)


@dataclass(frozen=True)
class Text:
    """A query that a user wrote, over named relations."""

    query: str
    tables: tuple[str, ...]

    keeps_rows = False

    def __post_init__(self) -> None:
        if not isinstance(self.query, str) or not self.query.strip():
            raise TypeError(f"sql needs a query, such as 'SELECT * FROM ds', got {self.query!r}")

    @property
    def name(self) -> str:
        """The query itself, shortened."""
        flat = " ".join(self.query.split())
        return f"SQL({flat if len(flat) <= 60 else flat[:57] + '...'})"

    def write(self, inputs: Sequence[Relation]) -> Written:
        """The relations as common table expressions before it."""
        tables = ", ".join(
            # DuckDB keeps what is named more than once, whole, unless it is told not to.
            f"{quote(name)} AS {'NOT MATERIALIZED ' if one.is_scan else ''}({one.select()})"
            for name, one in zip(self.tables, inputs, strict=True)
        )
        # A comment at the end is to end before what follows, and WITH may come after another.
        query = _COMMENTS.sub("", self.query).strip().rstrip(";") + "\n"
        if not tables:
            return Written(query, None)
        if query[:4].lower() == "with" and query[4:5].isspace():
            recursive = query[4:].lstrip()[:9].lower() == "recursive"
            rest = query[4:].lstrip()[9 if recursive else 0 :]
            return Written(f"WITH {'RECURSIVE ' if recursive else ''}{tables}, {rest}", None)
        return Written(f"WITH {tables} {query}", None)
