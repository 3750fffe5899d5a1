"""Blocks to TensorFlow tensors. TensorFlow is loaded here, when somebody asks for its tensors."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from heliostat.data.arrays import no_rows
from heliostat.data.block import require_columns, to_batch

Batches: TypeAlias = Callable[[Callable[[pa.Table], Any]], Iterator[Any]]


def tensorflow(verb: str) -> Any:
    """TensorFlow.

    Args:
        verb: Who needs it.

    Returns:
        The module.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        return importlib.import_module("tensorflow")
    except ImportError as error:
        raise ImportError(
            f"{verb} needs tensorflow: pip install tensorflow; or use iter_batches, which gives "
            "numpy arrays, or iter_torch_batches"
        ) from error


def tf_converter(tf: Any, dtypes: Any) -> Callable[[pa.Table], Any]:
    """What makes a batch of tensors of a table.

    Args:
        tf: TensorFlow.
        dtypes: One dtype, or one by column.

    Returns:
        A function.
    """

    def convert(table: pa.Table) -> dict[str, Any]:
        return {
            name: _tensor(tf, array, name, dtypes.get(name) if _by_name(dtypes) else dtypes)
            for name, array in to_batch(table, "numpy").items()
        }

    return convert


def _by_name(given: Any) -> bool:
    return isinstance(given, Mapping)


def _tensor(tf: Any, array: Any, name: str, dtype: Any) -> Any:
    try:
        # As its own type first: TensorFlow refuses to make, say, floats of an array of ints.
        tensor = tf.convert_to_tensor(array.tolist() if array.dtype == object else array)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"column {name!r} holds values that TensorFlow has no tensor for ({error}); leave it "
            "out with drop_columns, or turn it into numbers or text of one shape before"
        ) from error
    return tensor if dtype is None else tf.cast(tensor, dtype)


@dataclass(frozen=True)
class Group:
    """An element of each pair: a tensor of one column, or a dict of tensors."""

    columns: tuple[str, ...]
    alone: bool
    specs: Mapping[str, Any]

    def of(self, values: Mapping[str, Any]) -> Any:
        """The element.

        Args:
            values: Something for each column.

        Returns:
            That of the only column, or a dict.
        """
        if self.alone:
            return values[self.columns[0]]
        return {name: values[name] for name in self.columns}


def tf_columns(
    tf: Any, schema: pa.Schema | None, asked: Sequence[tuple[str | list[str], Any]]
) -> list[Group]:
    """Which columns become which element, and of what type.

    Args:
        tf: TensorFlow.
        schema: The columns there are.
        asked: The columns of each element, and the types that were given for them.

    Returns:
        The elements.

    Raises:
        KeyError: if there is no such column.
        ValueError: if there are no columns, or one of lists that differ in length.
    """
    if schema is None:
        raise ValueError("to_tf: the dataset has no rows, so nothing tells which columns it has")
    groups = []
    for columns, given in asked:
        names = (columns,) if isinstance(columns, str) else tuple(columns)
        require_columns(names, schema.names, "to_tf")
        specs = given if _by_name(given) else dict.fromkeys(names, given)
        kinds = {
            name: _spec(tf, schema, name) if specs.get(name) is None else specs[name]
            for name in names
        }
        groups.append(Group(names, isinstance(columns, str), kinds))
    return groups


def _spec(tf: Any, schema: pa.Schema, name: str) -> Any:
    array = to_batch(no_rows(pa.schema([schema.field(name)])), "numpy")[name]
    kind = schema.field(name).type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        return tf.TensorSpec(shape=(None,), dtype=tf.string, name=name)
    if array.dtype == object:
        raise ValueError(
            f"to_tf: column {name!r} is of type {kind}, whose values may differ in shape; bring "
            "them to one, or give its type by feature_type_spec or label_type_spec"
        )
    return tf.TensorSpec(shape=(None, *array.shape[1:]), dtype=tf.as_dtype(array.dtype), name=name)


def tf_dataset(tf: Any, groups: Sequence[Group], batches: Batches) -> Any:
    """A dataset of TensorFlow's.

    Args:
        tf: TensorFlow.
        groups: What each of its elements consists of.
        batches: Runs a pass: takes what converts a table, gives an iterator of what that gives.

    Returns:
        A `tf.data.Dataset`.
    """

    def convert(table: pa.Table) -> tuple[Any, ...]:
        elements = []
        for group in groups:
            arrays = to_batch(table.select(list(group.columns)), "numpy")
            tensors = {
                name: _tensor(tf, array, name, group.specs[name].dtype)
                for name, array in arrays.items()
            }
            elements.append(group.of(tensors))
        return tuple(elements)

    made = tf.data.Dataset.from_generator(
        lambda: batches(convert), output_signature=tuple(group.of(group.specs) for group in groups)
    )
    options = tf.data.Options()
    # Each process has the rows it is to have already.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return made.with_options(options)
