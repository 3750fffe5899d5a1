"""Which rows of Parquet files a user wants, by an expression of Arrow's."""

import pickle
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyarrow import fs


@dataclass(frozen=True)
class Predicate:
    """An expression, and what it speaks of.

    Attributes:
        expression: What is true of the rows that are wanted.
        schema: What it may speak of: all columns, with the types that they are read with.
        packed: What it says, to compare it by; its text leaves out the middle of long lists.
    """

    expression: Any = field(compare=False)
    schema: pa.Schema
    packed: bytes

    @classmethod
    def of(cls, expression: Any, schema: pa.Schema) -> "Predicate":
        """The predicate, if it makes sense for these columns.

        Raises:
            ValueError: if it does not.
        """
        try:
            schema.empty_table().filter(expression)
        except pa.ArrowException as error:
            raise ValueError(f"read_parquet(filter={expression}): {error}") from error
        return cls(expression, schema, pickle.dumps(expression))

    def fits(self, schema: pa.Schema) -> bool:
        """Whether columns have the same types in a file, as far as they are there."""
        return all(
            field.type == schema.field(field.name).type
            for field in self.schema
            if field.name in schema.names
        )

    def read(
        self, path: str, filesystem: fs.FileSystem, row_groups: list[int], columns: list[str]
    ) -> pa.Table:
        """The rows of a file that fits; Arrow leaves out row groups by their bounds."""
        import pyarrow.dataset as pads  # noqa: PLC0415 - seldom asked for, and slow to load

        form = pads.ParquetFileFormat()
        fragment: Any = form.make_fragment(path, filesystem, row_groups=row_groups)
        table: pa.Table = fragment.to_table(self.schema, columns, self.expression)
        return table
