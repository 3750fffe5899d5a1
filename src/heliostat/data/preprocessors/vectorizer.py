"""Texts become lists of words, or vectors that count them."""

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from heliostat.data.preprocessor import Preprocessor, frame_column, outputs
from heliostat.data.preprocessors._statistics import count_values

if TYPE_CHECKING:
    import pandas as pd

    from heliostat.data.dataset import Dataset

__all__ = ["CountVectorizer", "FeatureHasher", "HashingVectorizer", "Tokenizer"]


def words(text: str) -> list[str]:
    """What stands between spaces.

    Args:
        text: Any.

    Returns:
        Words.

    Example:
        >>> words("to be or not")
        ['to', 'be', 'or', 'not']
    """
    return text.split(" ")


def place(value: Any, number: int) -> int:
    """A place for a value, the same in every process.

    Args:
        value: Any; its text counts.
        number: How many places there are.

    Returns:
        A place.
    """
    return int(sha256(str(value).encode()).hexdigest(), 16) % number


class Tokenizer(Preprocessor):
    """Replaces texts by lists of their words; missing texts stay missing.

    Args:
        columns: Which.
        tokenization_fn: From a text to its words; by default what stands between spaces.
        output_columns: New names; None replaces the columns.

    Example:
        >>> import heliostat as ray
        >>> Tokenizer(["t"]).transform(ray.data.from_items([{"t": "a b"}])).take_all()
        [{'t': ['a', 'b']}]
    """

    _is_fittable = False

    def __init__(
        self,
        columns: Sequence[str],
        tokenization_fn: Callable[[str], list[str]] | None = None,
        *,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.columns = list(columns)
        self.tokenization_fn = tokenization_fn or words
        self.output_columns = outputs(columns, output_columns)

    def _made_of(self, column: str, tokens: list[str]) -> list[Any]:
        return list(tokens)

    def _transform_pandas(self, df: "pd.DataFrame") -> "pd.DataFrame":
        made = {}
        for column, output in zip(self.columns, self.output_columns, strict=True):
            values = [
                None
                if value is None or value != value
                else self._made_of(column, self.tokenization_fn(value))
                for value in df[column].astype(object)
            ]
            made[output] = frame_column(values, df.index)
        return df.assign(**made)


class CountVectorizer(Tokenizer):
    """Replaces texts by how often each known word occurs, the most frequent word first.

    Args:
        columns: Which.
        tokenization_fn: From a text to its words; by default what stands between spaces.
        max_features: Know only so many of the most frequent words.
        output_columns: New names; None replaces the columns.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"t": "a b a"}, {"t": "b a"}])
        >>> CountVectorizer(["t"]).fit_transform(ds).take_all()
        [{'t': [2, 1]}, {'t': [1, 1]}]
    """

    _is_fittable = True

    def __init__(
        self,
        columns: Sequence[str],
        tokenization_fn: Callable[[str], list[str]] | None = None,
        max_features: int | None = None,
        *,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__(columns, tokenization_fn, output_columns=output_columns)
        self.max_features = max_features

    def _fit(self, ds: "Dataset") -> None:
        def tokens(_: str, value: Any) -> list[str]:
            return [] if value is None else self.tokenization_fn(value)

        counts = count_values(ds, self.columns, "CountVectorizer", pieces=tokens)
        self.stats_ = {
            f"token_counts({name})": Counter(dict(counter.most_common(self.max_features)))
            for name, counter in counts.items()
        }

    def _made_of(self, column: str, tokens: list[str]) -> list[Any]:
        counted = Counter(tokens)
        known = self.stats_[f"token_counts({column})"].most_common()
        return [counted[token] for token, _ in known]


class HashingVectorizer(Tokenizer):
    """Replaces texts by vectors that count words by their hashes; nothing has to be learnt.

    Args:
        columns: Which.
        num_features: How long the vectors are.
        tokenization_fn: From a text to its words; by default what stands between spaces.
        output_columns: New names; None replaces the columns.

    Raises:
        ValueError: if `num_features` is below 1.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"t": "a b a"}])
        >>> HashingVectorizer(["t"], num_features=4).transform(ds).take_all()
        [{'t': [0, 1, 0, 2]}]
    """

    def __init__(
        self,
        columns: Sequence[str],
        num_features: int,
        tokenization_fn: Callable[[str], list[str]] | None = None,
        *,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__(columns, tokenization_fn, output_columns=output_columns)
        if num_features < 1:
            raise ValueError(f"num_features must be >= 1, got {num_features!r}")
        self.num_features = num_features

    def _made_of(self, column: str, tokens: list[str]) -> list[Any]:
        counted = Counter(place(token, self.num_features) for token in tokens)
        return [counted[number] for number in range(self.num_features)]


class FeatureHasher(Preprocessor):
    """Adds up columns of counts in a vector, each at the place that its name's hash says.

    Args:
        columns: Which; they stay.
        num_features: How long the vector is.
        output_column: The new column.

    Raises:
        ValueError: if `num_features` is below 1.

    Example:
        >>> import heliostat as ray
        >>> ds = ray.data.from_items([{"a": 1, "b": 2}])
        >>> FeatureHasher(["a", "b"], 4, "h").transform(ds).take(1)[0]["h"].tolist()
        [0.0, 2.0, 0.0, 1.0]
    """

    _is_fittable = False

    def __init__(self, columns: Sequence[str], num_features: int, output_column: str) -> None:
        super().__init__()
        if num_features < 1:
            raise ValueError(f"num_features must be >= 1, got {num_features!r}")
        self.columns = list(columns)
        self.num_features = num_features
        self.output_column = output_column

    def get_output_columns(self) -> list[str]:
        """The column it makes.

        Returns:
            Its name.
        """
        return [self.output_column]

    def _transform_pandas(self, df: "pd.DataFrame") -> "pd.DataFrame":
        vectors = np.zeros((len(df), self.num_features))
        for name in self.columns:
            vectors[:, place(name, self.num_features)] += df[name].to_numpy(dtype="float64")
        return df.assign(**{self.output_column: frame_column(vectors, df.index)})
