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
        _check_number(node)
        for resource, amount in node.config.resources().items():
            if amount > total.get(resource, 0):
                raise ValueError(
                    f"each replica of {node.name!r} asks for {resource}: {amount}, but the cluster "
                    f"has {total.get(resource, 0)}; change ray_actor_options, or give more: "
                    "to heliostat.init() on one machine, nodes to a cluster"
                )


def _check_number(node: Node) -> None:
    """Raise for more replicas than `max_replicas_per_node` lets there be."""
    most, scaling = node.config.max_replicas_per_node, node.config.autoscaling_config
    if most is None:
        return
    machines = sum(machine["Alive"] for machine in ray.nodes())
    asked = node.config.num_replicas if scaling is None else scaling.max_replicas
    if asked > most * machines:
        raise ValueError(
            f"deployment {node.name!r} asks for up to {asked} replicas, and max_replicas_per_node="
            f"{most} lets {most * machines} of them be on {machines} machine(s); the others would "
            "wait for ever. Change one of the two"
        )
    if machines > 1:
        raise NotImplementedError(
            f"max_replicas_per_node={most} of {node.name!r} cannot be promised on {machines} "
            "machines; leave it out"
        )


def lacking(config: DeploymentConfig) -> str:
    """What of a replica's resources is not free now, and what can be done about that.

    Empty when it is only slow to start.
    """
    free = ray.available_resources()
    short = {
        resource: amount
        for resource, amount in config.resources().items()
        if amount > free.get(resource, 0)
    }
    if not short:
        return ""
    what = ", ".join(
        f"it asks for {r}: {n}, and {free.get(r, 0)} is free" for r, n in short.items()
    )
    less = ", ".join(_option(resource) for resource, amount in short.items() if amount > _LITTLE)
    fewer = (
        f"with less (ray_actor_options={{{less}}}) or fewer replicas" if less else "fewer replicas"
    )
    more = ", ".join(f"{_ARGUMENTS.get(resource, 'resources')}=..." for resource in short)
    return (
        f"{what}; it starts as soon as there is room. Deploy {fewer}, or give more to "
        f"heliostat.init({more})"
    )


_LITTLE = 0.1  # of a device; nobody is told to take less than that
_ARGUMENTS = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


def _option(resource: str) -> str:
    name = _ARGUMENTS.get(resource)
    if name is None:
        return f"'resources': {{{resource!r}: ...}}"
    return f"{name!r}: ..." if name == "memory" else f"{name!r}: {_LITTLE}"
