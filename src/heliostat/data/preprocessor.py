"""Preprocessors: what is learnt from a dataset once, and applied to rows anywhere.

A subclass says what it learns (`_fit`) and what it does to a DataFrame (`_transform_pandas`) or a
dict of arrays (`_transform_numpy`); this file knows no single one of them.
"""

import base64
import enum
import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import cloudpickle  # type: ignore[import-untyped]  # ships no types
import numpy as np
import pyarrow as pa

from heliostat.data.arrays import is_frame
from heliostat.data.block import from_batch, to_batch

if TYPE_CHECKING:
    import pandas as pd

    from heliostat.data.dataset import Dataset

__all__ = ["Preprocessor", "PreprocessorNotFittedException"]


class PreprocessorNotFittedException(RuntimeError):
    """It was used before `fit` or `fit_transform`."""


class Preprocessor:
    """Learns from a dataset (`fit`) and changes rows (`transform`, `transform_batch`).

    Attributes:
        stats_: What was learnt.

    Example:
        >>> import numpy as np
        >>> import heliostat as ray
        >>> from heliostat.data.preprocessors import MinMaxScaler
        >>> scaler = MinMaxScaler(["id"]).fit(ray.data.range(3))
        >>> scaler.transform_batch({"id": np.array([1, 2])})["id"].tolist()
        [0.5, 1.0]
    """

    class FitStatus(enum.StrEnum):
        """What can be said about a preprocessor's state."""

        NOT_FITTABLE = "NOT_FITTABLE"
        NOT_FITTED = "NOT_FITTED"
        PARTIALLY_FITTED = "PARTIALLY_FITTED"
        FITTED = "FITTED"

    _is_fittable = True
    _batch_format = "pandas"

    def __init__(self) -> None:
        self.stats_: dict[str, Any] = {}
        self._fitted = False

    # -- what subclasses define

    def _fit(self, ds: "Dataset") -> None:
        raise NotImplementedError(f"{type(self).__name__} must define _fit")

    def _transform_pandas(self, df: "pd.DataFrame") -> "pd.DataFrame":
        raise NotImplementedError(f"{type(self).__name__} must define _transform_pandas")

    def _transform_arrow(self, table: pa.Table) -> pa.Table:
        raise NotImplementedError(f"{type(self).__name__} must define _transform_arrow")

    def _transform_numpy(self, batch: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError(f"{type(self).__name__} must define _transform_numpy")

    def get_input_columns(self) -> list[str]:
        """The columns it looks at.

        Returns:
            Names.
        """
        return list(getattr(self, "columns", ()))

    def get_output_columns(self) -> list[str]:
        """The columns it makes.

        Returns:
            Names.
        """
        return list(getattr(self, "output_columns", self.get_input_columns()))

    # -- what users call

    def fit_status(self) -> "Preprocessor.FitStatus":
        """Whether it has learnt what it needs.

        Returns:
            The status.
        """
        if not self._is_fittable:
            return self.FitStatus.NOT_FITTABLE
        return self.FitStatus.FITTED if self._fitted else self.FitStatus.NOT_FITTED

    def has_stats(self) -> bool:
        """Whether anything was learnt.

        Returns:
            True after `fit`.
        """
        return bool(self.stats_)

    def fit(self, ds: "Dataset") -> Self:
        """Learn from a dataset; what was learnt before is forgotten.

        Args:
            ds: The dataset.

        Returns:
            This preprocessor.

        Raises:
            KeyError: if a column is not there.
            ValueError: if a column does not hold what is needed.
        """
        if self._is_fittable:
            self.stats_ = {}
            self._fit(ds)
            self._fitted = True
        return self

    def fit_transform(
        self,
        ds: "Dataset",
        *,
        transform_num_cpus: float | None = None,
        transform_memory: float | None = None,
        transform_batch_size: int | None = None,
        transform_concurrency: int | None = None,
    ) -> "Dataset":
        """Learn from a dataset and change it.

        Args:
            ds: The dataset.
            transform_num_cpus: CPUs for each task.
            transform_memory: Bytes for each task.
            transform_batch_size: Rows a batch.
            transform_concurrency: How many tasks at once.

        Returns:
            A new Dataset.
        """
        return self.fit(ds).transform(
            ds,
            batch_size=transform_batch_size,
            num_cpus=transform_num_cpus,
            memory=transform_memory,
            concurrency=transform_concurrency,
        )

    def transform(
        self,
        ds: "Dataset",
        *,
        batch_size: int | None = None,
        num_cpus: float | None = None,
        memory: float | None = None,
        concurrency: int | None = None,
    ) -> "Dataset":
        """Change a dataset; lazily, like `map_batches`.

        Args:
            ds: The dataset.
            batch_size: Rows a batch.
            num_cpus: CPUs for each task.
            memory: Bytes for each task.
            concurrency: How many tasks at once.

        Returns:
            A new Dataset.

        Raises:
            PreprocessorNotFittedException: if it has to be fitted first.
        """
        self._expect_fitted()
        return ds.map_batches(
            _Transform(self),
            batch_size=batch_size,
            batch_format=self._batch_format,
            num_cpus=num_cpus,
            memory=memory,
            concurrency=concurrency,
        )

    def transform_batch(self, data: Any) -> Any:
        """Change one batch.

        Args:
            data: A DataFrame, a dict of arrays or an Arrow table; it is not written to.

        Returns:
            The same kind.

        Raises:
            PreprocessorNotFittedException: if it has to be fitted first.
            ValueError: if it is something else.
        """
        self._expect_fitted()
        table = from_batch(data, "transform_batch")
        batch = to_batch(table, self._batch_format, writable=True)
        changed = self._transform_batch(batch)
        if is_frame(data):
            frame = changed if is_frame(changed) else to_batch(from_batch(changed), "pandas")
            frame.index = data.index
            return frame
        if isinstance(data, pa.Table):
            return from_batch(changed)
        return to_batch(from_batch(changed), "numpy")

    def _transform_batch(self, batch: Any) -> Any:
        names = batch.column_names if isinstance(batch, pa.Table) else list(batch)
        missing = [name for name in self._needed() if name not in names]
        if missing:
            raise KeyError(
                f"{type(self).__name__}: no column named {', '.join(map(repr, missing))}; "
                f"the columns are {names}"
            )
        if self._batch_format == "pyarrow":
            return self._transform_arrow(batch)
        if self._batch_format == "pandas":
            return self._transform_pandas(batch)
        return self._transform_numpy(batch)

    def _needed(self) -> list[str]:
        """The columns without which it cannot work."""
        return self.get_input_columns()

    def _expect_fitted(self) -> None:
        status = self.fit_status()
        if status in (self.FitStatus.NOT_FITTED, self.FitStatus.PARTIALLY_FITTED):
            raise PreprocessorNotFittedException(
                f"{type(self).__name__} must be fitted before it is used: call fit(dataset) or "
                "fit_transform(dataset)"
            )

    @classmethod
    def preferred_batch_format(cls) -> str:
        """The format of the batches it works on.

        Returns:
            `"pandas"`, `"numpy"` or `"pyarrow"`.
        """
        return cls._batch_format

    # -- to and from text

    def serialize(self) -> str:
        """This preprocessor as text, to be read by `deserialize` only where it is trusted.

        Returns:
            Text.
        """
        return base64.b64encode(cloudpickle.dumps(self)).decode("ascii")

    @staticmethod
    def deserialize(serialized: str) -> "Preprocessor":
        """The preprocessor of a text. The text is a pickle: it runs what is in it.

        Args:
            serialized: What `serialize` gave.

        Returns:
            The preprocessor.

        Raises:
            ValueError: if it is something else.
        """
        try:
            found = pickle.loads(base64.b64decode(serialized, validate=True))
        except (ValueError, pickle.UnpicklingError, EOFError) as error:
            raise ValueError("this is not what Preprocessor.serialize gave") from error
        if not isinstance(found, Preprocessor):
            raise ValueError(f"this is a {type(found).__name__}, not a Preprocessor")
        return found

    def __repr__(self) -> str:
        fields = [
            f"{name}={getattr(value, '__name__', repr(value))}"
            for name, value in self.__dict__.items()
            if not name.startswith("_") and name != "stats_"
        ]
        return f"{type(self).__name__}({', '.join(fields)})"


class _Transform:
    """What `map_batches` calls, by the preprocessor's name."""

    def __init__(self, preprocessor: Preprocessor) -> None:
        self._preprocessor = preprocessor
        self.__name__ = type(preprocessor).__name__

    def __call__(self, batch: Any) -> Any:
        return self._preprocessor._transform_batch(batch)


def outputs(columns: Sequence[str], output_columns: Sequence[str] | None) -> list[str]:
    """The names of what is made of columns: their own, unless others are given.

    Args:
        columns: What is looked at.
        output_columns: The new names, or None.

    Returns:
        A name for each column.

    Raises:
        ValueError: if the numbers differ.
    """
    if not output_columns:
        return list(columns)
    if len(output_columns) != len(columns):
        raise ValueError(
            f"{len(output_columns)} output_columns for {len(columns)} columns: "
            f"{list(output_columns)} for {list(columns)}"
        )
    return list(output_columns)


def frame_column(values: Any, index: Any) -> "pd.Series":
    """Any values, lists and arrays among them, as a column of a DataFrame.

    Args:
        values: One for each row.
        index: Of the DataFrame.

    Returns:
        The column.
    """
    import pandas as pd  # noqa: PLC0415 - half a second that other users of Data need not spend

    column = np.full(len(index), None, object)
    for position, value in enumerate(values):
        column[position] = value  # pandas would take an array of one element for that element
    return pd.Series(column, index=index)
