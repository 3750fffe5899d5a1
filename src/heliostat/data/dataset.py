"""Dataset: a plan with verbs, and what can be said about it; rows are made when asked for."""

import pickle
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from heliostat.data._execute import Execution
from heliostat.data._optimize import Streamed, compile_stages, optimize
from heliostat.data._plan import Apply, Blocks, Limit, Plan, Read, count_of, render, schema_of, walk
from heliostat.data._stats import Stats
from heliostat.data.block import Bundle, iter_rows, schema_of_blocks
from heliostat.data.connectors.verbs import Connected
from heliostat.data.consumption import Consumption
from heliostat.data.context import DataContext
from heliostat.data.exporting import Exporting
from heliostat.data.frameworks import Frameworks
from heliostat.data.lineage import Lineage
from heliostat.data.reductions import Reductions
from heliostat.data.relations import Relations
from heliostat.data.stats_summary import record
from heliostat.data.transforms import Transforms
from heliostat.data.writing import Writing
from heliostat.util._html import block, table

__all__ = ["Dataset", "MaterializedDataset", "Schema"]


class Schema:
    """Names and types of the columns.

    Args:
        base_schema: As Arrow has it.

    Example:
        >>> Schema(pa.schema([("a", pa.int64())])).names
        ['a']
    """

    def __init__(self, base_schema: pa.Schema) -> None:
        self.base_schema = base_schema

    @property
    def names(self) -> list[str]:
        """The names of the columns.

        Returns:
            Names, in order.
        """
        return list(self.base_schema.names)

    @property
    def types(self) -> list[pa.DataType]:
        """The types of the columns.

        Returns:
            Arrow types, in order.
        """
        return list(self.base_schema.types)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and bool(self.base_schema.equals(other.base_schema))

    def __hash__(self) -> int:
        return hash(tuple(self.names))

    def __repr__(self) -> str:
        width = max([len("Column"), *(len(name) for name in self.names)])
        lines = [f"{'Column':{width}}  Type", f"{'-' * 6:{width}}  ----"]
        lines += [
            f"{name:{width}}  {kind}" for name, kind in zip(self.names, self.types, strict=True)
        ]
        return "\n".join(lines)


class Dataset(
    Transforms, Relations, Reductions, Consumption, Frameworks, Writing, Exporting, Connected, Lineage
):  # fmt: skip
    """Rows to come: immutable and lazy.

    Made by `heliostat.data.read_parquet`, `range`, `from_items` and their like. Verbs that build
    (`map_batches`, `limit`, ...) give a new Dataset at once; verbs that want rows (`take`,
    `count`, `to_pandas`, `iter_batches`, ...) run the plan, as far as they must.

    Args:
        plan: What to do.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(3).map(lambda row: {"square": row["id"] ** 2}).take_all()
        [{'square': 0}, {'square': 1}, {'square': 4}]
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._schema: pa.Schema | None = None
        self._stats: Stats | None = None
        self._name: str | None = None
        self._uuid = uuid.uuid4().hex
        self._runs = 0
        self._own_knobs: DataContext | None = None

    @property
    def context(self) -> DataContext:
        """The knobs of its own: a copy of this process's DataContext, made when it is first asked for.

        They are for this dataset, and for those that are made of it from then on. A dataset that is
        never asked goes by the DataContext of the process, as it is when something runs.

        Example:
            >>> import heliostat as ray
            >>> ds = ray.data.range(3)
            >>> ds.context.max_errored_blocks = 1
            >>> ds.limit(2).context.max_errored_blocks, ray.data.range(3).context.max_errored_blocks
            (1, 0)
        """
        if self._own_knobs is None:
            self._own_knobs = DataContext.get_current().copy()
        return self._own_knobs

    @property
    def _knobs(self) -> DataContext:
        return self._own_knobs or DataContext.get_current()

    # -- what the two mixins stand on

    def _derive(self, plan: Plan) -> "Dataset":
        # A column that cannot be there is told at the user's line, not when rows are wanted.
        schema_of(plan)
        made = Dataset(plan)
        made._own_knobs = self._own_knobs
        return made

    def _self(self) -> "Dataset":
        return self

    def _keep(self, bundles: Sequence[Bundle], schema: pa.Schema | None) -> "MaterializedDataset":
        kept = MaterializedDataset(Blocks(tuple(bundles), schema))
        kept._stats = self._stats
        kept._own_knobs = self._own_knobs
        return kept

    def _bundles(self, plan: Plan | None = None) -> Iterator[Bundle]:
        """Blocks as they come, of this dataset or of a plan made from it."""
        execution = self._execution(self._plan if plan is None else plan)
        try:
            for bundle in execution.run():
                if plan is None and self._schema is None:
                    self._schema = bundle.schema
                yield bundle
        finally:
            self._keep_stats(execution)
            if plan is None and self._schema is None:
                self._schema = execution.schema

    def _run(self, plan: Plan) -> tuple[list[Bundle], pa.Schema | None]:
        """All blocks at once, and their schema."""
        execution = self._execution(plan, unbounded=True)
        try:
            bundles = list(execution.run())
        finally:
            self._keep_stats(execution)
        schema = schema_of(plan)
        if schema is None:
            schema = schema_of_blocks(bundles) if bundles else execution.schema
        return bundles, schema

    def _execution(self, plan: Plan, *, unbounded: bool = False) -> Execution:
        self._runs += 1
        return Execution(plan, self._knobs, unbounded=unbounded)

    def _keep_stats(self, execution: Execution) -> None:
        if execution.stats is None:
            return
        self._stats = execution.stats
        if self._knobs.enable_stats_summary_collection:
            record(self.get_stats_summary())

    # -- what can be said

    def schema(self, fetch_if_missing: bool = True) -> Schema | None:
        """The columns. Runs one batch if a function stands before them, else nothing.

        Args:
            fetch_if_missing: Whether it may run anything.

        Returns:
            The schema, or None if it is not known.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(3).schema().names
            ['id']
        """
        if self._schema is None:
            self._schema = schema_of(self._plan)
        if self._schema is None and fetch_if_missing and not isinstance(self._plan, Blocks):
            _, self._schema = self._run(Apply(self._plan, Limit(1)))
        return None if self._schema is None else Schema(self._schema)

    def columns(self, fetch_if_missing: bool = True) -> list[str] | None:
        """The names of the columns.

        Args:
            fetch_if_missing: Whether it may run anything.

        Returns:
            Names, or None if they are not known.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(3).columns()
            ['id']
        """
        schema = self.schema(fetch_if_missing)
        return None if schema is None else schema.names

    def num_blocks(self) -> int:
        """How many blocks there are, once there are any.

        Returns:
            The number.

        Raises:
            NotImplementedError: if the dataset is not materialized.
        """
        raise NotImplementedError(
            "the number of blocks is not known before the dataset is run; call materialize() first"
        )

    def input_files(self) -> list[str]:
        """The files it reads.

        Returns:
            Paths.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(3).input_files()
            []
        """
        files = [
            file
            for plan in walk(self._plan)
            if isinstance(plan, Read)
            for file in plan.source.input_files()
        ]
        return list(dict.fromkeys(files))

    def stats(self) -> str:
        """What the last execution of this dataset did.

        Returns:
            Text, a line for each stage.

        Example:
            >>> import heliostat as ray
            >>> "Range(3)" in ray.data.range(3).materialize().stats()
            True
        """
        if self._stats is None:
            return "Nothing was run yet."
        return str(self._stats)

    def explain(self) -> None:
        """Print the plan as asked for, as optimised, and the stages that would run.

        Example:
            >>> import heliostat as ray
            >>> ray.data.range(3).limit(2).explain()
            -------- Logical Plan --------
            Limit(2)
            +- Range(3)
            -------- Logical Plan (Optimized) --------
            Range(2)
            -------- Stages --------
            0: Range(2), 2 inputs, in place
        """
        size = self._knobs.target_max_block_size
        best = optimize(self._plan)
        lines = ["-------- Logical Plan --------", *render(self._plan)]
        lines += ["-------- Logical Plan (Optimized) --------", *render(best)]
        lines += ["-------- Stages --------", *_stage_lines(best, size)]
        print("\n".join(lines))  # noqa: T201 - what it is for

    @staticmethod
    def deserialize_lineage(serialized_ds: bytes) -> "Dataset":
        """The dataset of which `serialize_lineage` made these bytes.

        Args:
            serialized_ds: The bytes. They are unpickled: load only what comes from whom you trust.

        Returns:
            A Dataset, with the name and the identifier of the old one.
        """
        plan, name, identifier = pickle.loads(serialized_ds)
        dataset = Dataset(plan)
        dataset._name, dataset._uuid = name, identifier
        return dataset

    @property
    def name(self) -> str | None:
        """The name that was given to it.

        Returns:
            The name, or None.
        """
        return self._name

    def set_name(self, name: str | None) -> None:
        """Give it a name.

        Args:
            name: The name.
        """
        self._name = name

    def __bool__(self) -> bool:
        return True  # `if ds:` asks whether there is one, and not how many rows it has

    def __len__(self) -> int:
        raise AttributeError("use count() to get the number of rows; it may have to run the plan")

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("a Dataset is not iterable; use iter_rows() or iter_batches()")

    def __repr__(self) -> str:
        schema = self.schema(fetch_if_missing=False)
        count = count_of(self._plan)
        if schema is None:
            return f"{type(self).__name__}\n" + "\n".join(render(self._plan))
        fields = ", ".join(
            f"{name}: {kind}" for name, kind in zip(schema.names, schema.types, strict=True)
        )
        return f"{type(self).__name__}(num_rows={'?' if count is None else count}, " + (
            f"schema={{{fields}}})"
        )

    def _repr_html_(self) -> str:
        """What is known without running it, for a notebook."""
        schema = self.schema(fetch_if_missing=False)
        count = count_of(self._plan)
        parts = [block("\n".join(render(self._plan)))]
        if schema is not None:
            pairs = zip(schema.names, schema.types, strict=True)
            parts.append(table([("column", "type"), *pairs]))
        if count is not None:
            parts.append(block(f"{count} rows"))
        return "".join(parts)


class MaterializedDataset(Dataset):
    """A dataset whose rows are there, in this process or in shared memory.

    Example:
        >>> import heliostat as ray
        >>> isinstance(ray.data.range(3).materialize(), MaterializedDataset)
        True
    """

    def num_blocks(self) -> int:
        """How many blocks there are.

        Returns:
            The number.

        Example:
            >>> import heliostat as ray
            >>> ray.data.from_items([1, 2]).num_blocks()
            1
        """
        assert isinstance(self._plan, Blocks)
        return len(self._plan.bundles)

    def __repr__(self) -> str:
        try:
            names, *cells = self._cells()
        except Exception:  # noqa: BLE001 - values of the user's: it says what it can
            return super().__repr__()
        lines = [[str(cell).replace("\n", " ")[:30] for cell in line] for line in (names, *cells)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines if line]
        more = [] if len(cells) == self.count() else [f"({len(cells)} of {self.count()} rows)"]
        return "\n".join([super().__repr__(), *text, *more])

    def _repr_html_(self) -> str:
        """The first rows, for a notebook."""
        return table(self._cells()) + block(f"{self.count()} rows")

    def _cells(self) -> list[list[Any]]:
        """Names, and the first rows."""
        names = self.columns() or []
        rows = [row for bundle in self._first(10) for row in iter_rows(bundle.table())]
        return [names, *([_shown(row.get(name)) for name in names] for row in rows)]

    def _first(self, rows: int) -> list[Bundle]:
        return self._run(Apply(self._plan, Limit(rows)))[0]


def _shown(value: object) -> object:
    """A value in a cell; of a picture only what it is."""
    shape = getattr(value, "shape", ())
    return value if len(shape) < 2 else f"{getattr(value, 'dtype', '')} {list(shape)}"


def _stage_lines(plan: Plan, size: int, lead: str = "") -> Iterator[str]:
    """A line for each stage; before a native one, what runs below it."""
    for number, stage in enumerate(compile_stages(plan, size)):
        takes = f"{len(stage.source)} inputs"
        if stage.inputs:
            takes = f"from {', '.join(map(str, stage.inputs))}"
        elif stage.source and isinstance(stage.source[0], Streamed):
            below = stage.source[0].inputs
            takes = f"{len(below)} inputs"
            for one in below:
                yield from _stage_lines(one, size, lead + "   ")
        yield f"{lead}{number}: {stage.name}, {takes}, {stage.where}"
