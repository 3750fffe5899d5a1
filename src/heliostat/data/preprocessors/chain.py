"""Preprocessors one after the other."""

from typing import TYPE_CHECKING, Any

from heliostat.data.preprocessor import Preprocessor

if TYPE_CHECKING:
    from heliostat.data.dataset import Dataset

__all__ = ["Chain"]


class Chain(Preprocessor):
    """Several preprocessors; each learns from what those before it have made.

    Args:
        *preprocessors: In order.

    Raises:
        TypeError: if one is no preprocessor.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.data.preprocessors import Concatenator, StandardScaler
        >>> chain = Chain(StandardScaler(["id"]), Concatenator(["id"]))
        >>> chain.fit_transform(ray.data.range(2)).take_all()
        [{'concat_out': array([-1.])}, {'concat_out': array([1.])}]
    """

    def __init__(self, *preprocessors: Preprocessor) -> None:
        super().__init__()
        for one in preprocessors:
            if not isinstance(one, Preprocessor):
                raise TypeError(f"Chain takes preprocessors one by one, got {one!r:.80}")
        self.preprocessors = preprocessors

    def fit_status(self) -> Preprocessor.FitStatus:
        """Whether those that learn have done so.

        Returns:
            The status.
        """
        learning = [one.fit_status() for one in self.preprocessors if one._is_fittable]
        if not learning:
            return self.FitStatus.NOT_FITTABLE
        fitted = [status is self.FitStatus.FITTED for status in learning]
        if all(fitted):
            return self.FitStatus.FITTED
        return self.FitStatus.PARTIALLY_FITTED if any(fitted) else self.FitStatus.NOT_FITTED

    def _fit(self, ds: "Dataset") -> None:
        for one in self.preprocessors:
            one.fit(ds)
            ds = one.transform(ds)

    def transform(self, ds: "Dataset", **options: Any) -> "Dataset":
        """Change a dataset by one after the other.

        Args:
            ds: The dataset.
            **options: As of `Preprocessor.transform`.

        Returns:
            A new Dataset.

        Raises:
            PreprocessorNotFittedException: if one has to be fitted first.
        """
        self._expect_fitted()
        for one in self.preprocessors:
            ds = one.transform(ds, **options)
        return ds

    def transform_batch(self, data: Any) -> Any:
        """Change one batch by one after the other.

        Args:
            data: A DataFrame, a dict of arrays or an Arrow table.

        Returns:
            The same kind.

        Raises:
            PreprocessorNotFittedException: if one has to be fitted first.
        """
        self._expect_fitted()
        for one in self.preprocessors:
            data = one.transform_batch(data)
        return data

    def get_input_columns(self) -> list[str]:
        """The columns that any of them looks at and none before it makes.

        Returns:
            Names.
        """
        made: set[str] = set()
        needed: dict[str, None] = {}
        for one in self.preprocessors:
            needed.update(dict.fromkeys(c for c in one.get_input_columns() if c not in made))
            made.update(one.get_output_columns())
        return list(needed)

    def get_output_columns(self) -> list[str]:
        """The columns that any of them makes.

        Returns:
            Names.
        """
        return list(
            dict.fromkeys(name for one in self.preprocessors for name in one.get_output_columns())
        )

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.preprocessors))})"
