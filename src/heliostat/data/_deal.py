"""Deal the rows of one stream out to several consumers, each of which takes them when it likes.

Pure: blocks in, pieces out. Every block is cut into as many even pieces as there are consumers, so
that who is slow holds up nobody, and all have as many rows at any moment.
"""

from collections import deque
from collections.abc import Sequence

from heliostat.data.block import Bundle


class Deal:
    """Rows dealt and not taken yet.

    Args:
        parts: How many consumers.
        equal: Leave out the last rows if there are not enough for everybody.

    Example:
        >>> import pyarrow as pa
        >>> deal = Deal(2, equal=True)
        >>> deal.put(Bundle.of(pa.table({"a": range(5)})))
        >>> deal.end()
        >>> [deal.take(part).rows for part in (0, 1)]
        [2, 2]
    """

    def __init__(self, parts: int, *, equal: bool) -> None:
        self._equal = equal
        self._waiting: list[deque[Bundle]] = [deque() for _ in range(parts)]
        self._open = set(range(parts))
        self._rest: list[Bundle] = []

    def put(self, bundle: Bundle) -> None:
        """Deal a block, with what was left over of those before."""
        parts = len(self._waiting)
        rows = sum(one.rows for one in self._rest) + bundle.rows
        each = rows // parts
        cuts = [each * part for part in range(1, parts + 1)]
        *pieces, self._rest = split_at([*self._rest, bundle], cuts)
        if each:
            self._give(pieces)

    def end(self) -> None:
        """There are no more blocks: deal what is left over, a row to each of the first."""
        if not self._equal:
            rows = sum(one.rows for one in self._rest)
            *pieces, _ = split_at(self._rest, list(range(1, rows + 1)))
            self._give(pieces)
        self._rest = []

    def _give(self, pieces: list[list[Bundle]]) -> None:
        for part, bundles in enumerate(pieces):
            if part in self._open:
                self._waiting[part].extend(bundles)

    def take(self, part: int) -> Bundle | None:
        """The next piece for a consumer, if one was dealt."""
        return self._waiting[part].popleft() if self._waiting[part] else None

    def leave(self, part: int) -> bool:
        """A consumer takes no more."""
        self._open.discard(part)
        self._waiting[part].clear()
        return not self._open


def split_at(bundles: Sequence[Bundle], indices: Sequence[int]) -> list[list[Bundle]]:
    """Cut a sequence of bundles at the given rows.

    Args:
        bundles: In order.
        indices: Row numbers, ascending.

    Returns:
        One list more than there are indices.

    Example:
        >>> import pyarrow as pa
        >>> two = split_at([Bundle.of(pa.table({"a": [1, 2, 3]}))], [1])
        >>> [[bundle.rows for bundle in part] for part in two]
        [[1], [2]]
    """
    parts: list[list[Bundle]] = []
    queue = list(reversed(bundles))
    done = 0
    for index in indices:
        part: list[Bundle] = []
        while queue and done < index:
            bundle = queue.pop()
            rows = min(bundle.rows, index - done)
            part.append(bundle.view(0, rows))
            if rows < bundle.rows:
                queue.append(bundle.view(rows, bundle.rows - rows))
            done += rows
        parts.append(part)
    return [*parts, list(reversed(queue))]
