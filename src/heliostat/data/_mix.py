"""Blocks of several datasets in turn, by weights: which one is next is a pure choice."""

import enum
from collections.abc import Iterator, Sequence

import pyarrow as pa


class MixStoppingCondition(enum.StrEnum):
    """When a mix ends: with its shortest dataset, or with its longest."""

    STOP_ON_SHORTEST = "stop_on_shortest"
    STOP_ON_LONGEST_DROP = "stop_on_longest_drop"


def mixed(
    inputs: Sequence[Iterator[pa.Table]], weights: Sequence[float], until: MixStoppingCondition
) -> Iterator[pa.Table]:
    """Draw from whichever input is furthest behind its weight.

    Args:
        inputs: Blocks.
        weights: For each of them.
        until: When to end.

    Yields:
        Blocks.

    Example:
        >>> one, two = ([pa.table({"a": [n]})] * 4 for n in (1, 2))
        >>> shortest = MixStoppingCondition.STOP_ON_SHORTEST
        >>> made = mixed([iter(one), iter(two)], [3, 1], shortest)
        >>> [block["a"][0].as_py() for block in made]
        [1, 2, 1, 1, 1, 2]
    """
    given = [0] * len(inputs)
    left = list(range(len(inputs)))
    while left:
        chosen = min(left, key=lambda number: (given[number] / weights[number], number))
        block = next(inputs[chosen], None)
        if block is None:
            if until is MixStoppingCondition.STOP_ON_SHORTEST:
                return
            left.remove(chosen)
            continue
        given[chosen] += block.num_rows
        if block.num_rows:
            yield block
