"""Blocks to JAX arrays. JAX is loaded here, when somebody asks for its arrays."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from heliostat.data.block import to_batch
from heliostat.data.collate_fn import CollateFn

Array: TypeAlias = "np.ndarray[Any, Any]"


def jax_converter(
    batch_size: int, dtypes: Any, collate_fn: Any, paddings: Any, synchronize: bool
) -> Callable[[pa.Table], Any]:
    """What makes a batch of arrays of a table.

    Args:
        batch_size: Rows a batch.
        dtypes: One dtype, or one by column.
        collate_fn: A CollateFn that gives arrays of numpy.
        paddings: One value, or one by column, for the rows that a short batch lacks.
        synchronize: Whether all processes of JAX are to have batches of one size.

    Returns:
        A function.

    Raises:
        ImportError: if jax is not installed.
        NotImplementedError: if several processes are to be synchronized.
        TypeError: if the collate_fn is none.
        ValueError: if the rows of a batch cannot be shared out evenly.
    """
    try:
        import jax  # noqa: PLC0415 - optional, and takes long
    except ImportError as error:
        raise ImportError(
            "iter_jax_batches needs jax: pip install jax; or use iter_batches, which gives numpy "
            "arrays"
        ) from error
    if collate_fn is not None and not isinstance(collate_fn, CollateFn):
        raise TypeError(
            "collate_fn must be an instance of a subclass of ArrowBatchCollateFn, "
            f"NumpyBatchCollateFn or PandasBatchCollateFn, got {collate_fn!r}"
        )
    if synchronize and jax.process_count() > 1:
        raise NotImplementedError(
            f"synchronize_batches=True with {jax.process_count()} processes of JAX is not offered; "
            "use drop_last=True, or paddings, and streaming_split(equal=True)"
        )
    arrays = Arrays(jax, batch_size, dtypes, paddings)

    def convert(table: pa.Table) -> Any:
        if collate_fn is None:
            made: Any = to_batch(table, "numpy")
        else:
            made = collate_fn(to_batch(table, collate_fn.batch_format, writable=True))
        if isinstance(made, Mapping):
            return {name: arrays.of(np.asarray(one), name) for name, one in made.items()}
        return arrays.of(np.asarray(made), None)

    return convert


class Arrays:
    """Makes arrays of JAX, whose rows are shared out among all its devices.

    Args:
        jax: The module.
        batch_size: Rows a batch of this process.
        dtypes: One dtype, or one by column.
        paddings: One value, or one by column.

    Raises:
        ValueError: if the rows of a batch cannot be shared out evenly.
    """

    def __init__(self, jax: Any, batch_size: int, dtypes: Any, paddings: Any) -> None:
        self._jax = jax
        self._batch_size = batch_size
        self._dtypes = dtypes
        self._paddings = paddings
        self._devices = jax.local_device_count()
        if batch_size % self._devices:
            raise ValueError(
                f"batch_size={batch_size} cannot be shared out among {self._devices} devices of "
                f"JAX; give a multiple of {self._devices}"
            )
        mesh = jax.sharding.Mesh(np.asarray(jax.devices()), ("data",))
        self._rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))

    def of(self, values: Array, name: str | None) -> Any:
        """An array of JAX.

        Args:
            values: The rows of this process.
            name: The column.

        Returns:
            The array.

        Raises:
            TypeError: if the values are no numbers.
            ValueError: if they cannot be shared out evenly.
        """
        if values.dtype == object or values.dtype.kind in "USOMm":
            raise TypeError(
                f"column {name!r} holds {values.dtype} values, which JAX has no array for; leave "
                "it out with drop_columns, or turn it into numbers before"
            )
        values = self._padded(values, name)
        if len(values) % self._devices:
            raise ValueError(
                f"the last batch has {len(values)} rows, which cannot be shared out among "
                f"{self._devices} devices of JAX; give drop_last=True or paddings"
            )
        kind = _of(self._dtypes, name)
        # JAX has no 64 bits unless it is told to; made narrow here, nobody is warned of it.
        narrow = self._jax.dtypes.canonicalize_dtype(values.dtype if kind is None else kind)
        whole = (len(values) * self._jax.process_count(), *values.shape[1:])
        return self._jax.make_array_from_process_local_data(
            self._rows, values.astype(narrow), whole
        )

    def _padded(self, values: Array, name: str | None) -> Array:
        short = self._batch_size - len(values)
        if self._paddings is None or short <= 0:
            return values
        fill = np.full((short, *values.shape[1:]), _of(self._paddings, name), values.dtype)
        return np.concatenate([values, fill])


def _of(given: Any, name: str | None) -> Any:
    """What was said about a column: one thing about all, or one by name."""
    if not isinstance(given, Mapping):
        return given
    if name not in given:
        raise ValueError(f"nothing is said about column {name!r}, only about {sorted(given)}")
    return given[name]
