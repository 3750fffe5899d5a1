"""What the parts of Dataset stand on: a plan, and what Dataset does with plans."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from heliostat.data._plan import Plan
from heliostat.data.block import Bundle
from heliostat.data.context import DataContext

if TYPE_CHECKING:
    from heliostat.data.dataset import Dataset, MaterializedDataset


class Planned:
    """The base of each part."""

    _plan: Plan
    _schema: pa.Schema | None

    @property
    def _knobs(self) -> DataContext:
        raise NotImplementedError

    def _self(self) -> "Dataset":
        raise NotImplementedError

    def _derive(self, plan: Plan) -> "Dataset":
        raise NotImplementedError

    def _bundles(self, plan: Plan | None = None) -> Iterator[Bundle]:
        raise NotImplementedError

    def _run(self, plan: Plan) -> tuple[list[Bundle], pa.Schema | None]:
        raise NotImplementedError

    def _keep(self, bundles: Sequence[Bundle], schema: pa.Schema | None) -> "MaterializedDataset":
        raise NotImplementedError


def plans_of(verb: str, *others: Any) -> tuple[Plan, ...]:
    """The plans of what a verb takes beside its dataset.

    Raises:
        TypeError: if one is no Dataset.
    """
    for one in others:
        if not isinstance(one, Planned):
            raise TypeError(f"{verb}: {one!r:.80} is not a Dataset; use ray.data.from_...() first")
    return tuple(one._plan for one in others)
