"""Room: whether replicas fit into the cluster, ever and now."""

from __future__ import annotations

from collections.abc import Sequence

import heliostat as ray
from heliostat.serve._build import Node
from heliostat.serve.config import DeploymentConfig


def check_room(nodes: Sequence[Node]) -> None:
    """Raise at once for a replica that never fits into this cluster."""
    total = ray.cluster_resources()
    for node in nodes:
        for resource, amount in node.config.resources().items():
            if amount > total.get(resource, 0):
                raise ValueError(
                    f"each replica of {node.name!r} asks for {resource}: {amount}, but the cluster "
                    f"has {total.get(resource, 0)}; change ray_actor_options, or give more to "
                    "heliostat.init()"
                )


def lacking(config: DeploymentConfig) -> str:
    """What of a replica's resources is not free now; empty when it is only slow to start."""
    free = ray.available_resources()
    return ", ".join(
        f"it asks for {resource}: {amount}, and {free.get(resource, 0)} is free"
        for resource, amount in config.resources().items()
        if amount > free.get(resource, 0)
    )
