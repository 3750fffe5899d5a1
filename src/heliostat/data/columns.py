"""The verbs that speak of columns: computed, chosen, named, dropped. All lazy."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import pyarrow as pa

from heliostat.data._evaluate import build_udfs, computed, filtered, needs_worker
from heliostat.data._expr import Expr, Star, Udf, Unnest, walk
from heliostat.data._failures import RAISE, OnError
from heliostat.data._plan import Actors, Apply, Compute, Drop, MapBatches, Rename, Select, Where
from heliostat.data._plan import Udf as Function
from heliostat.data._planned import Planned
from heliostat.data._predicate import parse
from heliostat.data.compute import UdfOptions, parse_udf
from heliostat.data.context import DataContext

if TYPE_CHECKING:
    from heliostat.data.dataset import Dataset


class Columns(Planned):
    """The part of Dataset that speaks of columns."""

    def with_column(self, column_name: str, expr: Expr, **options: Unpack[UdfOptions]) -> "Dataset":
        """Add a column, or replace it, by an expression.

        Args:
            column_name: Its name.
            expr: What it is.
            **options: Where users' functions in it run: see `UdfOptions`.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if the expression names a column that does not exist.
            TypeError: if it is no expression, or cannot be computed of these columns.

        Example:
            >>> import heliostat as ray
            >>> from heliostat.data.expressions import col
            >>> ray.data.range(2).with_column("twice", col("id") * 2).take_all()
            [{'id': 0, 'twice': 0}, {'id': 1, 'twice': 2}]
        """
        return self.with_columns({column_name: expr}, **options)

    def with_columns(
        self,
        exprs: Mapping[str, Expr] | Expr | None = None,
        *more_exprs: Mapping[str, Expr] | Expr,
        **options: Unpack[UdfOptions],
    ) -> "Dataset":
        """Add columns, or replace them, by expressions; all of them see the old columns.

        Args:
            exprs: Names and expressions; or an `unnest`.
            *more_exprs: More of them.
            **options: Where users' functions in them run: see `UdfOptions`.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if an expression names a column that does not exist.
            TypeError: if one is no expression, or cannot be computed of these columns.
            ValueError: if there is none.

        Example:
            >>> import heliostat as ray
            >>> from heliostat.data.expressions import col
            >>> ray.data.range(1).with_columns({"a": col("id") + 1, "b": -col("id")}).take_all()
            [{'id': 0, 'a': 1, 'b': 0}]
        """
        given = [one for one in (exprs, *more_exprs) if one is not None]
        pairs = tuple(pair for one in given for pair in _pairs(one))
        if not pairs:
            raise ValueError("with_columns needs a mapping of names to expressions, or an unnest()")
        return self._computed(pairs, options)

    def _computed(
        self, pairs: tuple[tuple[str, Expr], ...], options: Mapping[str, Any]
    ) -> "Dataset":
        compute = Compute(pairs)
        if not any(needs_worker(expr) for _, expr in pairs):
            return self._derive(Apply(self._plan, compute))
        self._derive(Apply(self._plan, compute))  # a wrong name or type is told now
        work = _Computation(pairs, None)
        return self._derive(Apply(self._plan, _on_workers(work, options, self._knobs)))

    def _where(self, expr: Any, options: Mapping[str, Any], on_error: OnError = RAISE) -> "Dataset":
        """`filter(expr=...)`."""
        predicate = parse(expr) if isinstance(expr, str) else expr
        if not isinstance(predicate, Expr):
            raise TypeError(f"filter(expr=...) needs an expression or a text, got {expr!r}")
        where = self._derive(Apply(self._plan, Where(predicate)))
        if not needs_worker(predicate):
            return where
        work = _Computation((), predicate)
        return self._derive(Apply(self._plan, _on_workers(work, options, self._knobs, on_error)))

    def select_columns(self, cols: Any, **options: Any) -> "Dataset":
        """Keep these columns, in this order.

        Args:
            cols: Their names, or expressions that have names.
            **options: Ray's scheduling options; not needed, since nothing is scheduled for it.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if a column does not exist.
            ValueError: if a name is given twice, or none is given.

        Example:
            >>> import heliostat as ray
            >>> ray.data.from_items([{"a": 1, "b": 2}]).select_columns("b").take_all()
            [{'b': 2}]
        """
        no_options("select_columns", options)
        listed = [cols] if isinstance(cols, str | Expr) else list(cols)
        names: list[Any] = []
        pairs: list[tuple[str, Expr]] = []
        for one in listed:
            if isinstance(one, Star):
                names.extend(self._derive(self._plan).columns() or ())
            elif isinstance(one, Expr):
                pairs.append((one.name or repr(one), one))
                names.append(pairs[-1][0])
            else:
                names.append(one)
        kept = Select(names_of(names, "select_columns"))
        made = self._computed(tuple(pairs), {}) if pairs else self
        return self._derive(Apply(made._plan, kept))

    def drop_columns(self, cols: str | Sequence[str], **options: Any) -> "Dataset":
        """Remove columns.

        Args:
            cols: Their names.
            **options: Ray's scheduling options; not needed, since nothing is scheduled for it.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if a column does not exist.
            ValueError: if a name is given twice, or none is given, or no column is left.

        Example:
            >>> import heliostat as ray
            >>> ray.data.from_items([{"a": 1, "b": 2}]).drop_columns(["b"]).take_all()
            [{'a': 1}]
        """
        no_options("drop_columns", options)
        return self._derive(Apply(self._plan, Drop(names_of(cols, "drop_columns"))))

    def rename_columns(self, names: Mapping[str, str] | Sequence[str], **options: Any) -> "Dataset":
        """Give columns new names.

        Args:
            names: Old names to new names, or one new name for each column.
            **options: Ray's scheduling options; not needed, since nothing is scheduled for it.

        Returns:
            A new Dataset.

        Raises:
            KeyError: if a column does not exist.
            TypeError: if they are one text.
            ValueError: if two columns would have one name.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(1).rename_columns({"id": "number"}).take_all()
            [{'number': 0}]
        """
        no_options("rename_columns", options)
        if isinstance(names, str):
            raise TypeError(f"rename_columns needs a dict or a list of names, got {names!r}")
        if isinstance(names, Mapping):
            step = Rename(pairs=tuple(names.items()))
            flat = [name for pair in step.pairs for name in pair]
        else:
            step = Rename(all_names=tuple(names))
            flat = list(step.all_names)
        if not flat or not all(isinstance(name, str) for name in flat):
            raise ValueError(f"rename_columns needs names that are strings, got {names!r}")
        return self._derive(Apply(self._plan, step))


class _Computation:
    """Expressions with users' functions in them, as what a task runs on a block."""

    def __init__(self, pairs: tuple[tuple[str, Expr], ...], predicate: Expr | None) -> None:
        self._pairs = pairs
        self._predicate = predicate
        whole = [expr for _, expr in pairs] + ([] if predicate is None else [predicate])
        self._exprs = whole
        self.has_class = any(
            isinstance(one, Udf) and one.constructor is not None
            for expr in whole
            for one in walk(expr)
        )
        self.__name__ = ", ".join(repr(expr) for expr in whole)
        self._built: dict[Udf, Any] | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        if self._built is None:
            self._built = build_udfs(self._exprs)
        if self._predicate is not None:
            return filtered(block, self._predicate, self._built)
        return computed(block, self._pairs, self._built)


def _on_workers(
    work: _Computation,
    options: Mapping[str, Any],
    context: DataContext,
    on_error: OnError = RAISE,
) -> MapBatches:
    """The step that runs it in tasks, or in a pool where a class is to be built once."""
    if not work.has_class:
        udf, place = parse_udf(work, options, on_error, context)
        return MapBatches(udf, place, None, "pyarrow", writable=False)
    # The pool's actors each unpickle the work, and build its objects at the first block.
    _, place = parse_udf(_Computation, options, context=context)
    assert isinstance(place, Actors)
    return MapBatches(Function(work), place, None, "pyarrow", writable=False)


def _pairs(given: Any) -> list[tuple[str, Expr]]:
    if isinstance(given, Unnest):
        return [("", given)]
    if not isinstance(given, Mapping):
        raise TypeError(
            f"with_columns takes mappings of names to expressions, or unnest(), got {given!r}"
        )
    for name, expr in given.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"a column's name must be a string, got {name!r}")
        if not isinstance(expr, Expr) or isinstance(expr, Star | Unnest):
            raise TypeError(
                f"column {name!r} needs an expression such as col('a') + 1 or lit(5), got {expr!r}"
            )
    return list(given.items())


# What Ray takes here says where the work is to run; it runs in place.
_SCHEDULING = ("compute", "concurrency", "num_cpus", "num_gpus", "memory")


def no_options(verb: str, options: Mapping[str, Any]) -> None:
    """Refuse options that say nothing to a verb that is not scheduled.

    Args:
        verb: Its name.
        options: What was given.

    Raises:
        TypeError: that names the option.
    """
    unknown = [name for name in options if name not in _SCHEDULING]
    if unknown:
        raise TypeError(f"{verb}() got an unexpected argument {unknown[0]!r}")


def names_of(cols: str | Sequence[str], verb: str) -> tuple[str, ...]:
    """Names of columns as a tuple.

    Args:
        cols: One or several.
        verb: Who asks.

    Returns:
        The names.

    Raises:
        ValueError: if there are none, or one is given twice.
    """
    names = (cols,) if isinstance(cols, str) else tuple(cols) if isinstance(cols, Iterable) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{verb} needs column names, got {cols!r}")
    if len(set(names)) != len(names):
        raise ValueError(f"{verb} got a name twice: {list(names)}")
    return names
