"""What a program may ask of whoever scales its cluster; on one machine it is there or never will be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import heliostat as ray

__all__ = ["request_resources"]


def request_resources(
    num_cpus: int | None = None,
    bundles: Sequence[Mapping[str, float]] | None = None,
    bundle_label_selectors: Sequence[Mapping[str, str]] | None = None,
) -> None:
    """Make sure that the session is large enough for all of this at once.

    Ray's autoscaler would start machines. Nothing does so here, so that a request which fits needs
    nothing done, and one that does not is refused at once.

    Args:
        num_cpus: So many CPUs.
        bundles: Shapes of resources, all at once.
        bundle_label_selectors: A label selector for each bundle. Not offered.

    Raises:
        ValueError: If the session is smaller, or a value is wrong.
        NotImplementedError: For label selectors.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.autoscaler.sdk import request_resources
        >>> context = ray.init(num_cpus=2)
        >>> request_resources(num_cpus=2)
        >>> request_resources(bundles=[{"CPU": 2}, {"CPU": 1}])
        Traceback (most recent call last):
        ...
        ValueError: request_resources asks for 3 CPU, and the session has 2; nothing here starts ...
    """
    if bundle_label_selectors:
        raise NotImplementedError(
            "bundle_label_selectors are not offered: no machine can be added; leave them out"
        )
    if num_cpus is not None and num_cpus < 0:
        raise ValueError(f"num_cpus must be >= 0, got {num_cpus!r}")
    wanted: Counter[str] = Counter()
    for bundle in bundles or ():
        for name, amount in bundle.items():
            if amount < 0:
                raise ValueError(f"{name} must be >= 0 in a bundle, got {amount!r}")
            wanted[name] += amount  # type: ignore[assignment]  # shares of a GPU are none too small
    wanted["CPU"] = max(wanted["CPU"], num_cpus or 0)
    there = ray.cluster_resources()
    for name, amount in wanted.items():
        if amount > there.get(name, 0):
            raise ValueError(
                f"request_resources asks for {amount:g} {name}, and the session has "
                f"{there.get(name, 0):g}; nothing here starts machines: ask for less, or begin it "
                "with init(num_cpus=..., resources=...)"
            )
