"""Values that are no numbers become numbers, or categories."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from heliostat.data.preprocessor import Preprocessor, frame_column, outputs
from heliostat.data.preprocessors._statistics import count_values, hashable

if TYPE_CHECKING:
    import pandas as pd

    from heliostat.data.dataset import Dataset

__all__ = ["Categorizer", "LabelEncoder", "MultiHotEncoder", "OneHotEncoder", "OrdinalEncoder"]


def _elements(_: str, value: Any) -> Iterable[Any]:
    """What of a value is counted where lists are taken apart; a null stays one."""
    return value if isinstance(value, list | np.ndarray) else (value,)


def _numbered(
    counts: Mapping[str, Counter[Any]], verb: str, largest: Mapping[str, int] | None = None
) -> dict[str, dict[Any, int]]:
    """Each value's place among the sorted values of its column, or among the most frequent."""
    numbered = {}
    for name, counter in counts.items():
        if any(value is None or value != value for value in counter):
            raise ValueError(
                f"{verb} cannot fit column {name!r}: it has missing values; fill them first, with "
                "SimpleImputer for example"
            )
        values = list(counter)
        if largest and name in largest:
            values = [value for value, _ in counter.most_common(largest[name])]
        try:
            values.sort()
        except TypeError as error:
            raise ValueError(
                f"{verb} cannot sort the values of column {name!r}: {error}"
            ) from error
        numbered[name] = {value: number for number, value in enumerate(values)}
    return numbered


class OrdinalEncoder(Preprocessor):
    """Replaces values by their place among the sorted values that were seen; new ones by NaN.

    Args:
        columns: Which.
        encode_lists: In columns of lists, replace each element; else each list counts as a value.
        output_columns: New names; None replaces the columns.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"a": "x"}, {"a": "y"}, {"a": "x"}])
        >>> OrdinalEncoder(["a"]).fit_transform(ds).take_all()
        [{'a': 0}, {'a': 1}, {'a': 0}]
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        encode_lists: bool = True,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.encode_lists = encode_lists
        self.output_columns = outputs(columns, output_columns)

    def _fit(self, ds: "Dataset") -> None:
        pieces = _elements if self.encode_lists else None
        counts = count_values(ds, self.columns, "OrdinalEncoder", pieces=pieces)
        numbered = _numbered(counts, "OrdinalEncoder")
        self.stats_ = {f"unique_values({name})": places for name, places in numbered.items()}

    def _transform_pandas(self, df: "pd.DataFrame") -> "pd.DataFrame":
        _expect_no_nulls(df, self.columns, "OrdinalEncoder")
        made = {}
        for column, output in zip(self.columns, self.output_columns, strict=True):
            places = self.stats_[f"unique_values({column})"]
            values = [hashable(value) for value in df[column]]
            if self.encode_lists and any(isinstance(value, tuple) for value in values):
                lists = [[places.get(one) for one in value] for value in values]
                made[output] = frame_column(lists, df.index)
            else:
                made[output] = _places(places, values, df.index)
        return df.assign(**made)


def _expect_no_nulls(df: "pd.DataFrame", columns: Sequence[str], verb: str) -> None:
    missing = [name for name in columns if df[name].isna().any()]
    if missing:
        raise ValueError(
            f"{verb} cannot encode columns {missing}: they have missing values; fill them first, "
            "with SimpleImputer for example"
        )


def _places(places: Mapping[Any, int], values: Sequence[Any], index: Any) -> "pd.Series":
    import pandas as pd  # noqa: PLC0415 - see frame_column

    found = [places.get(value) for value in values]
    missing = any(one is None for one in found)
    return pd.Series(found, index=index, dtype="float64" if missing else "int64")


class OneHotEncoder(Preprocessor):
    """Replaces each value by a vector with a 1 at its place; new values by zeros.

    Args:
        columns: Which.
        max_categories: For some columns, how many of the most frequent values have a place.
        output_columns: New names; None replaces the columns.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"a": "x"}, {"a": "y"}])
        >>> [row["a"].tolist() for row in OneHotEncoder(["a"]).fit_transform(ds).take_all()]
        [[1, 0], [0, 1]]
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        max_categories: Mapping[str, int] | None = None,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.max_categories = dict(max_categories or {})
        self.output_columns = outputs(columns, output_columns)

    def _fit(self, ds: "Dataset") -> None:
        verb = type(self).__name__
        counts = count_values(ds, self.columns, verb, pieces=self._pieces())
        numbered = _numbered(counts, verb, self.max_categories)
        self.stats_ = {f"unique_values({name})": places for name, places in numbered.items()}

    def _pieces(self) -> Any:
        return None

    def _parts(self, value: Any) -> Iterable[Any]:
        return (value,)

    def _transform_pandas(self, df: "pd.DataFrame") -> "pd.DataFrame":
        _expect_no_nulls(df, self.columns, type(self).__name__)
        made = {}
        for column, output in zip(self.columns, self.output_columns, strict=True):
            places = self.stats_[f"unique_values({column})"]
            vectors = np.zeros((len(df), len(places)), np.uint8 if self._pieces() is None else int)
            for row, value in enumerate(df[column]):
                for part in self._parts(hashable(value)):
                    place = places.get(part)
                    if place is not None:
                        vectors[row, place] += 1
            rows = vectors if self._pieces() is None else vectors.tolist()
            made[output] = frame_column(rows, df.index)
        return df.assign(**made)


class MultiHotEncoder(OneHotEncoder):
    """Replaces each list by a vector that counts its elements.

    Args:
        columns: Which; of lists.
        max_categories: For some columns, how many of the most frequent elements have a place.
        output_columns: New names; None replaces the columns.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"a": ["x", "y"]}, {"a": ["y"]}])
        >>> MultiHotEncoder(["a"]).fit_transform(ds).take_all()
        [{'a': [1, 1]}, {'a': [0, 1]}]
    """

    def _pieces(self) -> Any:
        return _elements

    def _parts(self, value: Any) -> Iterable[Any]:
        return value if isinstance(value, tuple) else (value,)


class LabelEncoder(Preprocessor):
    """Replaces the labels of a column by their place among the sorted labels, and back.

    Args:
        label_column: Which.
        output_column: A new name; None replaces the column.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"a": "x"}, {"a": "y"}])
        >>> encoder = LabelEncoder("a")
        >>> encoded = encoder.fit_transform(ds)
        >>> encoded.take_all(), encoder.inverse_transform(encoded).take_all()
        ([{'a': 0}, {'a': 1}], [{'a': 'x'}, {'a': 'y'}])
    """

    def __init__(self, label_column: str, *, output_column: str | None = None) -> None:
        super().__init__()
        self.label_column = label_column
        self.output_column = output_column or label_column

    def _fit(self, ds: "Dataset") -> None:
        counts = count_values(ds, [self.label_column], "LabelEncoder")
        places = _numbered(counts, "LabelEncoder")[self.label_column]
        self.stats_ = {f"unique_values({self.label_column})": places}

    def _transform_pandas(self, df: "pd.DataFrame") -> "pd.DataFrame":
        places = self.stats_[f"unique_values({self.label_column})"]
        values = [hashable(value) for value in df[self.label_column]]
        return df.assign(**{self.output_column: _places(places, values, df.index)})

    def inverse_transform(self, ds: "Dataset") -> "Dataset":
        """Put the labels back in place of their numbers.

        Args:
            ds: A dataset that has the column this encoder makes.

        Returns:
            A new Dataset.

        Raises:
            PreprocessorNotFittedException: if it was not fitted.
        """
        self._expect_fitted()
        return ds.map_batches(_Labels(self), batch_format="pandas")

    def get_input_columns(self) -> list[str]:
        """The columns it looks at.

        Returns:
            Names.
        """
        return [self.label_column]

    def get_output_columns(self) -> list[str]:
        """The columns it makes.

        Returns:
            Names.
        """
        return [self.output_column]


class _Labels:
    def __init__(self, encoder: LabelEncoder) -> None:
        self._from, self._to = encoder.output_column, encoder.label_column
        places = encoder.stats_[f"unique_values({encoder.label_column})"]
        self._labels = {place: label for label, place in places.items()}
        self.__name__ = "LabelEncoder.inverse_transform"

    def __call__(self, df: "pd.DataFrame") -> "pd.DataFrame":
        labels: Any = [self._labels.get(place) for place in df[self._from]]
        return df.assign(**{self._to: labels})


class Categorizer(Preprocessor):
    """Makes columns categorical.

    Args:
        columns: Which.
        dtypes: For some columns, the `pandas.CategoricalDtype`; for others it is learnt.
        output_columns: New names; None replaces the columns.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"a": "x"}, {"a": "y"}])
        >>> Categorizer(["a"]).fit_transform(ds).to_pandas()["a"].dtype.categories.tolist()
        ['x', 'y']
    """

    def __init__(
        self,
        columns: Sequence[str],
        dtypes: "Mapping[str, pd.CategoricalDtype] | None" = None,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.dtypes = dict(dtypes or {})
        self.output_columns = outputs(columns, output_columns)

    def _fit(self, ds: "Dataset") -> None:
        import pandas as pd  # noqa: PLC0415 - see frame_column

        learnt = [name for name in self.columns if name not in self.dtypes]
        counts = count_values(ds, learnt, "Categorizer") if learnt else {}
        self.stats_ = {
            name: pd.CategoricalDtype(
                sorted(value for value in counter if value is not None and value == value)
            )
            for name, counter in counts.items()
        }
        self.stats_.update(self.dtypes)

    def _transform_pandas(self, df: "pd.DataFrame") -> "pd.DataFrame":
        pairs = zip(self.columns, self.output_columns, strict=True)
        return df.assign(
            **{output: df[column].astype(self.stats_[column]) for column, output in pairs}
        )
