"""Pairs of features and labels as torch's `IterableDataset`. torch is loaded here, when asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from heliostat.data._torch import torch_converter
from heliostat.data.block import require_columns

Batches: TypeAlias = Callable[[Callable[[pa.Table], Any]], Iterator[Any]]


@dataclass(frozen=True)
class Features:
    """Which columns become which tensors.

    Attributes:
        groups: The columns of each tensor, by its key; None for all there are.
        dtypes: Of each tensor, by its key.
        form: How the tensors are given: `one`, `list` or `dict`.
        unsqueeze: Give each column a dimension of its own.
    """

    groups: Mapping[Any, Sequence[str] | None]
    dtypes: Mapping[Any, Any]
    form: str
    unsqueeze: bool

    @classmethod
    def parse(cls, columns: Any, dtypes: Any, unsqueeze: bool) -> "Features":
        """What a user said.

        Args:
            columns: A list of names, a list or dict of such lists, or nothing.
            dtypes: One, or in the same form.
            unsqueeze: Give each column a dimension of its own.

        Returns:
            The features.

        Raises:
            TypeError: if the dtypes have another form than the columns.
            ValueError: if a list is empty, or there are more or fewer dtypes.
        """
        groups: dict[Any, Sequence[str] | None]
        if isinstance(columns, Mapping) and columns:
            form, groups = "dict", dict(columns)
        elif columns and not isinstance(columns[0], str):
            form, groups = "list", dict(enumerate(columns))
        else:
            form, groups = "one", {0: list(columns) if columns else None}
        if form != "one" and not all(groups.values()):
            raise ValueError(f"feature_columns={columns!r}: each tensor needs a column at least")
        return cls(groups, _by_key(form, groups, dtypes), form, unsqueeze)

    def names(self) -> list[str] | None:
        """All columns that are needed; None for all there are."""
        names: list[str] = []
        for group in self.groups.values():
            if group is None:
                return None
            names += group
        return names


def _by_key(form: str, groups: Mapping[Any, Any], dtypes: Any) -> dict[Any, Any]:
    several = isinstance(dtypes, Mapping | list | tuple)
    if form == "one" or not several:
        return dict.fromkeys(groups, dtypes)
    if isinstance(dtypes, Mapping) != (form == "dict"):
        kind = "dict of dtypes by the same keys" if form == "dict" else "list of as many dtypes"
        raise TypeError(f"feature_column_dtypes must be one dtype or a {kind}, got {dtypes!r}")
    given = dict(dtypes) if isinstance(dtypes, Mapping) else dict(enumerate(dtypes))
    if set(given) != set(groups):
        raise ValueError(
            f"feature_column_dtypes has {sorted(given)}, but feature_columns {sorted(groups)}"
        )
    return given


def torch_dataset(
    features: Features, label: str | None, label_dtype: Any, unsqueeze_label: bool, batches: Batches
) -> Any:
    """What torch iterates over.

    Args:
        features: Which columns become which tensors.
        label: The column of the label, if there is one.
        label_dtype: Its dtype.
        unsqueeze_label: Give it a dimension of its own.
        batches: Runs a pass: takes what converts a table, gives an iterator of what that gives.

    Returns:
        A `torch.utils.data.IterableDataset`.

    Raises:
        ImportError: if torch is not installed.
    """
    tensors = torch_converter(None, "cpu", None, False)
    import torch  # noqa: PLC0415 - optional; the line before says so if it is not there

    def joined(columns: Mapping[str, Any], names: Sequence[str], dtype: Any, wide: bool) -> Any:
        kinds = dtype if isinstance(dtype, list | tuple) else [dtype] * len(names)
        chosen = [
            columns[name] if kind is None else columns[name].to(kind)
            for name, kind in zip(names, kinds, strict=True)
        ]
        chosen = [one.unsqueeze(1) for one in chosen] if wide else chosen
        return chosen[0] if len(chosen) == 1 else torch.cat(chosen, dim=1 if wide else 0)

    def convert(table: pa.Table) -> tuple[Any, Any]:
        names = features.names()
        if names is None:
            names = [name for name in table.column_names if name != label]
        wanted = list(dict.fromkeys(names if label is None else [*names, label]))
        require_columns(wanted, table.column_names, "to_torch")
        columns = tensors(table.select(wanted))
        made = {
            key: joined(columns, group or names, features.dtypes[key], features.unsqueeze)
            for key, group in features.groups.items()
        }
        target = None
        if label is not None:
            target = joined(columns, [label], label_dtype, unsqueeze_label)
        if features.form == "one":
            return made[0], target
        return (made if features.form == "dict" else list(made.values())), target

    class Pairs(torch.utils.data.IterableDataset):  # type: ignore[type-arg]  # not at run time
        """Features and labels, a batch an element."""

        def __iter__(self) -> Iterator[Any]:
            return batches(convert)

    return Pairs()
