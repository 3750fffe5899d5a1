"""Counters, gauges and histograms of deployments' code; Ray's `ray.serve.metrics`.

Those of `heliostat.util.metrics`, with the tags `deployment`, `replica` and `application` of where
they are made. In the driver they are the plain ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from heliostat.serve.context import get_replica_context
from heliostat.util import metrics as plain

__all__ = ["Counter", "Gauge", "Histogram"]

_OWN = ("deployment", "replica", "application")


def _own_tags() -> dict[str, str]:
    try:
        context = get_replica_context()
    except RuntimeError:
        return {}
    return dict(zip(_OWN, (context.deployment, context.replica_id, context.app_name), strict=True))


class _Own(plain.Metric):
    """Keeps the tags of the replica beside those that users set."""

    def set_default_tags(self, default_tags: Mapping[str, str]) -> Self:
        """As everywhere, beside the tags of the replica."""
        return super().set_default_tags({**_own_tags(), **default_tags})


class Counter(_Own, plain.Counter):
    """Something that only grows, by deployment and replica.

    Args:
        name: Shown as `ray_NAME_total`.
        description: For people.
        tag_keys: Names of further tags.

    Example:
        >>> from heliostat.serve.metrics import Counter
        >>> Counter("served", "Requests served.").inc()
    """

    def __init__(
        self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(name, description, (*(tag_keys or ()), *_own_tags()))
        self.set_default_tags({})


class Gauge(_Own, plain.Gauge):
    """A value that goes up and down, by deployment and replica; arguments as `Counter`."""

    def __init__(
        self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(name, description, (*(tag_keys or ()), *_own_tags()))
        self.set_default_tags({})


class Histogram(_Own, plain.Histogram):
    """Values by size, by deployment and replica; arguments as `Counter`, and `boundaries`."""

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: list[float] | None = None,
        tag_keys: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(name, description, boundaries, (*(tag_keys or ()), *_own_tags()))
        self.set_default_tags({})
