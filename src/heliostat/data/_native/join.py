"""Joins as SQL: Ray's eight kinds, cross, and the nearest row before (asof)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from heliostat.data._native.queries import Written
from heliostat.data._native.relation import Relation, family, quote, quoted, unused
from heliostat.data.block import require_columns

KINDS = {
    "inner": "INNER",
    "left_outer": "LEFT",
    "right_outer": "RIGHT",
    "full_outer": "FULL",
    "left_semi": "SEMI",
    "left_anti": "ANTI",
    "right_semi": "SEMI",
    "right_anti": "ANTI",
}


@dataclass(frozen=True)
class Join:
    """Rows of two relations side by side where their keys are equal."""

    kind: str
    on: tuple[str, ...]
    right_on: tuple[str, ...]
    left_suffix: str | None = None
    right_suffix: str | None = None

    keeps_rows = False

    @property
    def name(self) -> str:
        """With kind and keys."""
        return f"Join({self.kind}; {', '.join(self.on)})"

    def write(self, inputs: Sequence[Relation]) -> Written:
        """The columns of the left side, then those of the right side; the keys once."""
        left, right = inputs
        require_columns(self.on, left.names, "join")
        require_columns(self.right_on, right.names, "join")
        self._require_comparable(left, right)
        match = " AND ".join(
            f"l.{quote(a)} = r.{quote(b)}" for a, b in zip(self.on, self.right_on, strict=True)
        )
        sides = f"({left.select()}) AS l {KINDS[self.kind]} JOIN ({right.select()}) AS r ON {match}"
        if self.kind in ("left_semi", "left_anti"):
            return _one_side(left, "l", sides)
        if self.kind in ("right_semi", "right_anti"):
            turned = f"({right.select()}) AS r {KINDS[self.kind]} JOIN ({left.select()}) AS l"
            return _one_side(right, "r", f"{turned} ON {match}")
        pairs = self._columns(left, right)
        listed = ", ".join(f"{sql} AS {quote(name)}" for name, sql, _ in pairs)
        columns = tuple((name, kind) for name, _, kind in pairs)
        return Written(f"SELECT {listed} FROM {sides}", columns)

    def _require_comparable(self, left: Relation, right: Relation) -> None:
        # DuckDB would turn texts into numbers, and fail at the first that is none.
        for a, b in zip(self.on, self.right_on, strict=True):
            one, other = left.schema.field(a).type, right.schema.field(b).type
            families = {family(one), family(other)}
            if "span" in families and one != other:
                kind = f"duration({(one if family(one) == 'span' else other).unit!r})"
            elif families == {"number", "text"}:
                kind = "int64()" if family(one) == "text" else "string()"
            else:
                continue
            raise TypeError(
                f"join: {a!r} is {one} and {b!r} {other}; make one type of them first, as in "
                f"ds.with_column({a!r}, col({a!r}).cast(pa.{kind}))"
            )

    def _columns(
        self, left: Relation, right: Relation
    ) -> list[tuple[str, str, pa.DataType | None]]:
        """Name, SQL and type of each column it gives."""
        same = dict(zip(self.on, self.right_on, strict=True))
        pairs: list[tuple[str, str, pa.DataType | None]] = []
        # The keys are given once: where the rows of the right side count, by their names there.
        turned = self.kind == "right_outer"
        lefts = [name for name in left.names if not turned or name not in same]
        rights = [name for name in right.names if turned or name not in self.right_on]
        for name in lefts:
            new, sql, kind = name, f"l.{quote(name)}", left.schema.field(name).type
            if name in same and self.kind == "full_outer":
                # On rows of the right side alone the key is the right side's.
                sql = f"coalesce({sql}, r.{quote(same[name])})"
                kind = _of_both(kind, right.schema.field(same[name]).type)
            if name in rights:
                new += self.left_suffix or ""
            pairs.append((new, sql, kind))
        for name in rights:
            new = name + (self.right_suffix or "") if name in lefts else name
            pairs.append((new, f"r.{quote(name)}", right.schema.field(name).type))
        names = [name for name, _, _ in pairs]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(
                f"join: both sides have columns {twice}; give left_suffix or right_suffix"
            )
        return pairs


def _of_both(left: Any, right: Any) -> pa.DataType | None:
    """The type of a value of either; None for what SQL makes of them."""
    moments = pa.types.is_timestamp(left) and pa.types.is_timestamp(right)
    zones = moments and bool(left.tz and right.tz) and left.unit == right.unit
    kind: pa.DataType | None = left if zones or left == right else None
    return kind


def _one_side(side: Relation, alias: str, sides: str) -> Written:
    listed = ", ".join(f"{alias}.{quote(name)}" for name in side.names)
    return Written(
        f"SELECT {listed} FROM {sides}", tuple((one.name, one.type) for one in side.schema)
    )


@dataclass(frozen=True)
class AsofJoin:
    """Each left row with the last right row at or before it (or the first at or after it)."""

    on: str
    by: tuple[str, ...]
    right_on: str
    direction: str
    left_suffix: str | None = None
    right_suffix: str | None = None

    keeps_rows = False

    @property
    def name(self) -> str:
        """With the columns."""
        return f"AsofJoin({', '.join((*self.by, self.on))})"

    def write(self, inputs: Sequence[Relation]) -> Written:
        """DuckDB's ASOF JOIN, with the left rows in their order."""
        left, right = inputs
        require_columns([*self.by, self.on], left.names, "join_asof")
        require_columns([*self.by, self.right_on], right.names, "join_asof")
        join = Join("inner", (*self.by, self.on), (*self.by, self.right_on),
                    self.left_suffix, self.right_suffix)  # fmt: skip
        join._require_comparable(left, right)
        pairs = join._columns(left, right)
        sign = ">=" if self.direction == "backward" else "<="
        equal = "".join(f"l.{quote(name)} = r.{quote(name)} AND " for name in self.by)
        numbered, row = left.numbered()
        others, place = right.numbered()
        # Of rows that are as near, the nearest in their order: DuckDB takes any.
        way = "DESC" if self.direction == "backward" else "ASC"
        near = quoted([*self.by, self.right_on])
        nearest = (
            f"SELECT * FROM ({others}) AS _ "
            f"QUALIFY row_number() OVER (PARTITION BY {near} ORDER BY {place} {way}) = 1"
        )
        listed = ", ".join(f"{sql} AS {quote(name)}" for name, sql, _ in pairs)
        sql = (
            f"SELECT {listed} FROM ({numbered}) AS l ASOF LEFT JOIN ({nearest}) AS r "
            f"ON {equal}l.{quote(self.on)} {sign} r.{quote(self.right_on)} ORDER BY l.{row}"
        )
        return Written(sql, tuple((name, kind) for name, _, kind in pairs))


@dataclass(frozen=True)
class Zip:
    """Rows of several relations side by side, by their position.

    Attributes:
        absent: Columns of null, where one row is and functions for the others were not called.
    """

    absent: tuple[str, ...] = ()

    keeps_rows = False

    @property
    def name(self) -> str:
        """Its own."""
        return "Zip"

    def write(self, inputs: Sequence[Relation]) -> Written:
        """Native positional join; a name that is there already gets a number, as in Ray."""
        taken: list[str] = []
        parts: list[str] = []
        columns: list[tuple[str, pa.DataType | None]] = []
        for number, one in enumerate(inputs):
            for field in one.schema:
                name, suffix = field.name, 0
                while name in taken:
                    suffix += 1
                    name = f"{field.name}_{suffix}"
                taken.append(name)
                parts.append(f"t{number}.{quote(field.name)} AS {quote(name)}")
                columns.append((name, field.type))
        marks = [unused("__there", one.names) for one in inputs]
        sides = " POSITIONAL JOIN ".join(
            f"({one.select(f'*, 1 AS {mark}')}) AS t{number}"
            for number, (one, mark) in enumerate(zip(inputs, marks, strict=True))
        )
        # The shorter side is filled with nulls, which is never what was meant.
        there = " + ".join(f"t{number}.{mark}" for number, mark in enumerate(marks))
        uneven = "the datasets have different numbers of rows; cut them with limit()"
        check = f"CASE WHEN ({there}) IS NULL THEN error('{uneven}') ELSE TRUE END"
        return Written(f"SELECT {', '.join(parts)} FROM {sides} WHERE {check}", tuple(columns))
