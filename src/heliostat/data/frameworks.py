"""Rows and batches, also as tensors; a dataset as torch's and TensorFlow's own kind of dataset.

What a Dataset and a DataIterator share. Each framework is loaded in the one file about it, when
somebody asks for its tensors.
"""

import functools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from heliostat.data._jax import jax_converter
from heliostat.data._pass import Cut, Passes
from heliostat.data._tensorflow import tensorflow, tf_columns, tf_converter, tf_dataset
from heliostat.data._torch import torch_converter
from heliostat.data._torch_dataset import Features, torch_dataset
from heliostat.data.block import Bundle, Row, check_batch_format, iter_rows, to_batch

if TYPE_CHECKING:
    from heliostat.data.dataset import Schema

# So many rows are made tensors at once, where batches are smaller.
SLAB_ROWS = 1 << 16


class Frameworks:
    """The part of Dataset and DataIterator that iterates, for whatever framework."""

    @property
    def _is_read_anew(self) -> bool:
        raise NotImplementedError

    def _bundles(self) -> Iterator[Bundle]:
        raise NotImplementedError

    def _converted(
        self,
        cut: Cut,
        prefetch_batches: int,
        convert: Callable[[pa.Table], Any],
        slab: int = 1,
        encoded: bool = False,
    ) -> Iterator[Any]:
        raise NotImplementedError

    def schema(self) -> "Schema | None":
        """The columns.

        Returns:
            The schema, or None.
        """
        raise NotImplementedError

    def iter_rows(self) -> Iterator[Row]:
        """Iterate over rows.

        Returns:
            An iterator of dicts; each loop over it begins anew.

        Example:
            >>> import heliostat as ray
            >>> next(ray.data.range(5).iter_rows())
            {'id': 0}
        """
        return Passes(self._each_row)

    def _each_row(self) -> Generator[Row]:
        for bundle in self._bundles():
            yield from iter_rows(bundle.table())

    def iter_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        batch_format: str | None = "default",
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
    ) -> Iterator[Any]:
        """Iterate over batches.

        Args:
            prefetch_batches: How many batches to prepare ahead while rows are still being made.
            batch_size: Rows a batch; None gives blocks as they are.
            batch_format: `"default"` or `"numpy"`, `"pandas"`, `"pyarrow"`.
            drop_last: Leave out a last batch that is short.
            local_shuffle_buffer_size: Draw rows at random from a buffer of at least this many.
            local_shuffle_seed: For the same draw again.

        Returns:
            An iterator of batches; each loop over it begins anew. Numpy arrays may be read-only
            views; copy what you change.

        Raises:
            ValueError: if an argument makes no sense.

        Example:
            >>> import heliostat as ray
            >>> batch = next(ray.data.range(5).iter_batches(batch_size=2))
            >>> batch["id"].tolist()
            [0, 1]
        """
        form = check_batch_format(batch_format)
        cut = Cut(batch_size, drop_last, local_shuffle_buffer_size, local_shuffle_seed)
        convert = functools.partial(to_batch, batch_format=form)
        numpy = form == "numpy"
        slab = _slab(batch_size) if numpy else 1
        return self._converted(cut, prefetch_batches, convert, slab, encoded=numpy)

    def iter_torch_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        dtypes: Any = None,
        device: Any = "auto",
        collate_fn: Any = None,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        pin_memory: bool = False,
    ) -> Iterator[Any]:
        """Iterate over batches of torch tensors.

        Args:
            prefetch_batches: How many batches to prepare ahead while rows are still being made.
            batch_size: Rows a batch; None gives blocks as they are.
            dtypes: A torch dtype for all columns, or one by name.
            device: Where the tensors are to be; `"auto"` is the GPU if there is one.
            collate_fn: Instead of all that: takes a batch (a dict of arrays, or what its
                class says), gives anything.
            drop_last: Leave out a last batch that is short.
            local_shuffle_buffer_size: Draw rows at random from a buffer of at least this many.
            local_shuffle_seed: For the same draw again.
            pin_memory: Put the tensors into page-locked memory first, to copy them faster.

        Returns:
            An iterator of dicts of tensors, or of what `collate_fn` gives.

        Raises:
            ImportError: if torch is not installed.
            TypeError: if a column's values are no numbers.
            ValueError: if an argument makes no sense.
        """
        cut = Cut(batch_size, drop_last, local_shuffle_buffer_size, local_shuffle_seed)
        # Many small batches are made of one conversion; a shuffle has batches of its own.
        alone = collate_fn is not None or pin_memory
        slab = 1 if alone else _slab(batch_size)
        convert = torch_converter(dtypes, device, collate_fn, pin_memory, self._is_read_anew, slab)
        return self._converted(cut, prefetch_batches, convert, slab)

    def iter_jax_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int = 256,
        dtypes: Any = None,
        collate_fn: Any = None,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        synchronize_batches: bool = False,
        paddings: Any = None,
    ) -> Iterator[Any]:
        """Iterate over batches of JAX arrays, shared out among the devices of JAX along their rows.

        Args:
            prefetch_batches: How many batches to prepare ahead while rows are still being made.
            batch_size: Rows a batch; a multiple of the number of this process's devices.
            dtypes: A dtype for all columns, or one by name.
            collate_fn: An instance of a class of `heliostat.data.collate_fn`; it gives an array
                or a dict of arrays.
            drop_last: Leave out a last batch that is short.
            local_shuffle_buffer_size: Draw rows at random from a buffer of at least this many.
            local_shuffle_seed: For the same draw again.
            synchronize_batches: Not offered where JAX spans several processes; there is nothing
                to do for it in one.
            paddings: A value, or one by column, that fills up a last batch that is short.

        Returns:
            An iterator of dicts of arrays, or of arrays if `collate_fn` gives such.

        Raises:
            ImportError: if jax is not installed.
            NotImplementedError: for `synchronize_batches` with several processes.
            TypeError: if a column's values are no numbers.
            ValueError: if an argument makes no sense, or a short batch cannot be shared out.
        """
        cut = Cut(batch_size, drop_last, local_shuffle_buffer_size, local_shuffle_seed)
        convert = jax_converter(batch_size, dtypes, collate_fn, paddings, synchronize_batches)
        return self._converted(cut, prefetch_batches, convert)

    def iter_tf_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        dtypes: Any = None,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
    ) -> Iterator[Any]:
        """Iterate over batches of TensorFlow tensors.

        Args:
            prefetch_batches: How many batches to prepare ahead while rows are still being made.
            batch_size: Rows a batch; None gives blocks as they are.
            dtypes: A TensorFlow dtype for all columns, or one by name.
            drop_last: Leave out a last batch that is short.
            local_shuffle_buffer_size: Draw rows at random from a buffer of at least this many.
            local_shuffle_seed: For the same draw again.

        Returns:
            An iterator of dicts of tensors.

        Raises:
            ImportError: if tensorflow is not installed.
            TypeError: if TensorFlow has no tensor for a column's values.
            ValueError: if an argument makes no sense.
        """
        cut = Cut(batch_size, drop_last, local_shuffle_buffer_size, local_shuffle_seed)
        convert = tf_converter(tensorflow("iter_tf_batches"), dtypes)
        return self._converted(cut, prefetch_batches, convert)

    def to_tf(
        self,
        feature_columns: str | list[str],
        label_columns: str | list[str],
        *,
        additional_columns: str | list[str] | None = None,
        prefetch_batches: int = 1,
        batch_size: int = 1,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        feature_type_spec: Any = None,
        label_type_spec: Any = None,
        additional_type_spec: Any = None,
    ) -> Any:
        """A `tf.data.Dataset` of pairs of features and labels.

        Args:
            feature_columns: One column for a tensor, several for a dict of tensors.
            label_columns: The same for labels.
            additional_columns: The same for a third element, such as the weights of samples.
            prefetch_batches: How many batches to prepare ahead while rows are still being made.
            batch_size: Rows an element.
            drop_last: Leave out a last batch that is short.
            local_shuffle_buffer_size: Draw rows at random from a buffer of at least this many.
            local_shuffle_seed: For the same draw again.
            feature_type_spec: A `tf.TypeSpec`, or one by column; by default as the columns are.
            label_type_spec: The same for labels.
            additional_type_spec: The same for the third element.

        Returns:
            The dataset; each pass over it runs this one.

        Raises:
            ImportError: if tensorflow is not installed.
            ValueError: if there is no such column, or its lists differ in length.
        """
        tf = tensorflow("to_tf")
        cut = Cut(batch_size, drop_last, local_shuffle_buffer_size, local_shuffle_seed)
        asked: list[tuple[str | list[str], Any]] = [
            (feature_columns, feature_type_spec),
            (label_columns, label_type_spec),
        ]
        if additional_columns is not None:
            asked.append((additional_columns, additional_type_spec))
        found = self.schema()
        groups = tf_columns(tf, None if found is None else found.base_schema, asked)
        return tf_dataset(
            tf, groups, lambda convert: self._converted(cut, prefetch_batches, convert)
        )

    def to_torch(
        self,
        *,
        label_column: str | None = None,
        feature_columns: Sequence[str]
        | Sequence[Sequence[str]]
        | Mapping[str, Sequence[str]]
        | None = None,
        label_column_dtype: Any = None,
        feature_column_dtypes: Any = None,
        batch_size: int = 1,
        prefetch_batches: int = 1,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        unsqueeze_label_tensor: bool = True,
        unsqueeze_feature_tensors: bool = True,
    ) -> Any:
        """A torch `IterableDataset` of pairs of features and labels; `iter_torch_batches` is newer.

        Args:
            label_column: Which column is the label; None gives None in its place.
            feature_columns: A list of columns for one tensor with a column each, a list of lists
                for a list of tensors, a dict of lists for a dict of them; None for all columns
                but the label.
            label_column_dtype: A torch dtype.
            feature_column_dtypes: One for all features, or one for each tensor, in the form of
                `feature_columns`.
            batch_size: Rows an element.
            prefetch_batches: How many batches to prepare ahead while rows are still being made.
            drop_last: Leave out a last batch that is short.
            local_shuffle_buffer_size: Draw rows at random from a buffer of at least this many.
            local_shuffle_seed: For the same draw again.
            unsqueeze_label_tensor: Give the label the shape (N, 1) instead of (N,).
            unsqueeze_feature_tensors: The same for each column of features.

        Returns:
            The dataset; each pass over it runs this one.

        Raises:
            ImportError: if torch is not installed.
            TypeError: if the dtypes have another form than the columns; in a pass, if a column's
                values are no numbers.
            ValueError: if a list of columns is empty, or there are more or fewer dtypes.
        """
        cut = Cut(batch_size, drop_last, local_shuffle_buffer_size, local_shuffle_seed)
        features = Features.parse(feature_columns, feature_column_dtypes, unsqueeze_feature_tensors)
        return torch_dataset(
            features,
            label_column,
            label_column_dtype,
            unsqueeze_label_tensor,
            lambda convert: self._converted(cut, prefetch_batches, convert),
        )


def _slab(batch_size: int | None) -> int:
    return 1 if batch_size is None else max(1, SLAB_ROWS // batch_size)
