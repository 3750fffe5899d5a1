"""Slices of TPUs as placement groups: a bundle for each host, and a task on each of them.

Written against what is public of Core. On one machine a slice is what fits on it: start the session
with `init(resources={"TPU": 8})`, or so many as there are. On a Ray cluster slices may have several
hosts, whose labels and resources Ray finds; which of them are free is seen by taking their head.
"""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import heliostat
from heliostat.placement import PlacementGroup, placement_group, remove_placement_group
from heliostat.strategies import PlacementGroupSchedulingStrategy
from heliostat.util.tpu._host import get_current_pod_name
from heliostat.util.tpu._topology import (
    check_topology,
    chips_of,
    chips_per_host,
    get_tpu_version_from_type,
    get_tpu_worker_resources,
    pod_type,
    resources_per_chip,
)

__all__ = [
    "SlicePlacementGroup",
    "dispatch",
    "get_num_ready_tpu_slices",
    "get_tpu_nodes_for_slice",
    "get_tpu_slice_name_from_node",
    "run_on_slice",
    "slice_placement_group",
]

NAME, WORKER, POD = "ray.io/tpu-slice-name", "ray.io/tpu-worker-id", "ray.io/tpu-pod-type"
HEAD_S = 100.0


def get_tpu_slice_name_from_node(node: Mapping[str, Any]) -> str | None:
    """The slice of several hosts that a machine belongs to, or None.

    Args:
        node: One of `heliostat.nodes()`.

    Example:
        >>> get_tpu_slice_name_from_node({"Labels": {"ray.io/tpu-slice-name": "mine"}})
        'mine'
    """
    name = (node.get("Labels") or {}).get(NAME)
    return None if name is None else str(name)


def get_tpu_nodes_for_slice(
    slice_name: str, nodes: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """The machines of a slice that are alive.

    Args:
        slice_name: Its name.
        nodes: Where to look, if not among `heliostat.nodes()`.
    """
    if nodes is None:
        nodes = heliostat.nodes() if heliostat.is_initialized() else []
    return [
        node
        for node in nodes
        if node.get("Alive") and get_tpu_slice_name_from_node(node) == slice_name
    ]


def get_num_ready_tpu_slices(
    topology: str, accelerator_type: str, tpu_resource_per_chip: int | None = None
) -> int:
    """How many slices are whole and idle.

    On a cluster with several, those that certainly are: each TPU in use may be one of another.
    A slice is known by the label "ray.io/tpu-pod-type" of its machines: `init(labels=...)` gives it
    to one that has not got it from its cluster.

    Args:
        topology: Such as "2x4".
        accelerator_type: Such as "TPU-V6E".
        tpu_resource_per_chip: How many of the resource TPU a chip counts for.

    Example:
        >>> get_num_ready_tpu_slices("2x4", "TPU-V6E")
        0
    """
    scale = resources_per_chip() if tpu_resource_per_chip is None else tpu_resource_per_chip
    if not heliostat.is_initialized():
        return 0
    pod = pod_type(topology, get_tpu_version_from_type(accelerator_type))
    chips = chips_of(topology) * scale
    slices: dict[str, list[dict[str, Any]]] = {}
    for node in heliostat.nodes():
        if node["Alive"] and (node.get("Labels") or {}).get(POD) == pod:
            alone = chips <= _tpus(node)
            name = node["NodeID"] if alone else get_tpu_slice_name_from_node(node)
            if name:
                slices.setdefault(name, []).append(node)
    whole = [nodes for nodes in slices.values() if sum(map(_tpus, nodes)) == chips]
    ready = sum(map(_has_head, whole))
    # What is free is known of all machines together: each TPU in use may be one of another slice.
    free, there = heliostat.available_resources(), heliostat.cluster_resources()
    return max(0, ready - math.ceil(there.get("TPU", 0) - free.get("TPU", 0)))


def _tpus(node: Mapping[str, Any]) -> float:
    return float((node.get("Resources") or {}).get("TPU", 0))


def _has_head(nodes: list[dict[str, Any]]) -> bool:
    return len(nodes) == 1 or any(node["Labels"].get(WORKER) == "0" for node in nodes)


class SlicePlacementGroup:
    """TPU slices set aside: placement groups with a bundle for each host, or as is asked for.

    A slice on one host is found by its chips. One of several hosts is found by its head, a resource
    of the slice's first host, which is held until `release_head_pgs`.

    Args:
        topology: Such as "2x2x2".
        accelerator_version: Such as "v6e".
        resources_per_bundle: What each bundle has, if not one CPU and the chips of a host.
        strategy: As of `placement_group`.
        name: As of `placement_group`.
        lifetime: As of `placement_group`.
        num_slices: How many slices.
        chips_per_vm: The chips of a host, if not what is usual for the topology.
        head_reservation_timeout_s: How long to wait for a slice of several hosts; None: for ever.
        bundle_label_selector: Labels of the machines, for each bundle.
        pg_per_slice: One placement group for each slice, instead of one for all.
        tpu_resource_per_chip: How many of the resource TPU a chip counts for.

    Raises:
        ValueError: For what no TPU is made as, or for more than there is.
        RuntimeError: If there is no machine that such a slice begins with.
        TimeoutError: If no such slice gets free in time.

    Example:
        >>> from heliostat.util.tpu import SlicePlacementGroup
        >>> _ = heliostat.init(resources={"TPU": 8})
        >>> held = SlicePlacementGroup("2x4", "v6e")
        >>> held.num_hosts, held.chips_per_host, held.bundle_resources
        (1, 8, {'CPU': 1, 'TPU': 8})
        >>> held.shutdown()
    """

    def __init__(
        self,
        topology: str,
        accelerator_version: str,
        resources_per_bundle: dict[str, float] | None = None,
        strategy: str = "SPREAD",
        name: str = "",
        lifetime: str | None = None,
        num_slices: int = 1,
        chips_per_vm: int | None = None,
        head_reservation_timeout_s: float | None = HEAD_S,
        bundle_label_selector: list[dict[str, str]] | None = None,
        pg_per_slice: bool = False,
        tpu_resource_per_chip: int | None = None,
    ) -> None:
        self.topology = topology.strip().lower()
        self.accelerator_version = get_tpu_version_from_type(accelerator_version.strip())
        self.num_slices = num_slices
        scale = resources_per_chip() if tpu_resource_per_chip is None else tpu_resource_per_chip
        self.tpu_resource_per_chip = scale
        self.num_bundles, self.bundle_resources = get_tpu_worker_resources(
            self.topology,
            self.accelerator_version,
            resources_per_bundle,
            num_slices,
            chips_per_vm,
            scale,
        )
        check_topology(self.topology, self.accelerator_version)
        usual = chips_per_host(self.topology, self.accelerator_version)
        self.chips_per_host = usual if chips_per_vm is None else chips_per_vm
        self.devices_per_host = self.chips_per_host * scale
        hosts = max(1, chips_of(self.topology) // self.chips_per_host)
        self.num_hosts = hosts * num_slices
        given = bundle_label_selector or [{} for _ in range(self.num_bundles)]
        if len(given) != self.num_bundles:
            raise ValueError(
                f"bundle_label_selector length ({len(given)}) must match the number of bundles "
                f"({self.num_bundles})"
            )
        self.bundle_label_selector = [dict(labels) for labels in given]
        self._heads: list[PlacementGroup | None] = []
        self._groups: list[PlacementGroup] = []
        self._per_slice = pg_per_slice
        try:
            if hosts > 1:
                self._find_slices(head_reservation_timeout_s)
            self._set_aside(strategy, name, lifetime)
        except BaseException:
            self.shutdown()
            raise

    def _find_slices(self, timeout_s: float | None) -> None:
        """Give the bundles of each slice its name, which whoever has its head can ask for."""
        size = self.num_bundles // self.num_slices
        for first in range(0, self.num_bundles, size):
            mine = self.bundle_label_selector[first : first + size]
            name = next((labels[NAME] for labels in mine if NAME in labels), None)
            name = name or self._take_head(timeout_s)
            for labels in mine:
                labels[NAME] = name

    def _take_head(self, timeout_s: float | None) -> str:
        pod = pod_type(self.topology, self.accelerator_version)
        what = f"a {self.accelerator_version} slice of topology {self.topology}"
        try:
            head = placement_group(
                [{f"TPU-{pod}-head": 1}], bundle_label_selector=[{WORKER: "0", POD: pod}]
            )
        except ValueError as error:
            raise RuntimeError(
                f"Failed to reserve TPU slice: {what} has {self.num_hosts // self.num_slices} "
                f"hosts, and none here is its first ({POD}={pod}, {WORKER}=0)"
            ) from error
        self._heads.append(head)
        ready, _ = heliostat.wait([head.ready()], timeout=timeout_s)
        if not ready:
            raise TimeoutError(f"no head of {what} was free within {timeout_s} s")
        here = PlacementGroupSchedulingStrategy(head, placement_group_bundle_index=0)
        name = heliostat.get(_name.options(scheduling_strategy=here).remote())
        if not name:
            raise RuntimeError(f"Failed to reserve TPU slice: the first host of {what} has no name")
        return str(name)

    def _set_aside(self, strategy: str, name: str, lifetime: str | None) -> None:
        parts = self.num_slices if self._per_slice else 1
        size = self.num_bundles // parts
        for number in range(parts):
            labels = self.bundle_label_selector[number * size : (number + 1) * size]
            self._groups.append(
                placement_group(
                    [dict(self.bundle_resources) for _ in range(size)],
                    strategy=strategy,
                    name=f"{name}_slice_{number}" if name and self._per_slice else name,
                    lifetime=lifetime,
                    bundle_label_selector=labels if any(labels) else None,
                )
            )

    @property
    def slice_placement_group(self) -> PlacementGroup | None:
        """The placement group; None after `shutdown`.

        Raises:
            ValueError: If there is one for each slice.
        """
        if self._per_slice:
            raise ValueError("pg_per_slice=True, use `slice_placement_groups` instead")
        return self._groups[0] if self._groups else None

    @property
    def placement_group(self) -> PlacementGroup | None:
        """The same as `slice_placement_group`."""
        return self.slice_placement_group

    @property
    def slice_placement_groups(self) -> list[PlacementGroup]:
        """The placement group of each slice.

        Raises:
            ValueError: If there is one for all.
        """
        if not self._per_slice:
            raise ValueError("pg_per_slice=False, use `slice_placement_group` instead")
        return list(self._groups)

    @property
    def head_placement_groups(self) -> list[PlacementGroup]:
        """What holds the heads of slices of several hosts."""
        return [head for head in self._heads if head is not None]

    def release_head_pgs(self, slice_index: int | None = None) -> None:
        """Give the heads back; the bundles hold the slices once they are there.

        Args:
            slice_index: Of one slice; if not said, of all.

        Raises:
            ValueError: If there is no slice of that number, or it has no head.
        """
        if slice_index is not None and not 0 <= slice_index < len(self._heads):
            raise ValueError(f"Invalid slice_index: {slice_index}; heads: {len(self._heads)}")
        chosen = range(len(self._heads)) if slice_index is None else [slice_index]
        for number in chosen:
            head, self._heads[number] = self._heads[number], None
            if head is not None:
                remove_placement_group(head)

    def shutdown(self) -> None:
        """Give everything back. A second call does nothing."""
        groups, self._groups = self._groups, []
        for group in groups:
            remove_placement_group(group)
        self.release_head_pgs()

    def _bundles(self, slice_index: int | None) -> list[tuple[PlacementGroup, int]]:
        """The places of tasks: a group and the number of a bundle in it."""
        if slice_index is not None and not self._per_slice:
            raise ValueError(
                "slice_index can only be used with a slice made with pg_per_slice=True"
            )
        if slice_index is not None and not 0 <= slice_index < self.num_slices:
            raise ValueError(
                f"Invalid slice_index {slice_index}. Must be between 0 and {self.num_slices - 1}"
            )
        if not self._groups:
            raise ValueError("this tpu_slice has been shut down; make another one")
        groups = self._groups if slice_index is None else [self._groups[slice_index]]
        size = self.num_bundles // len(self._groups)
        return [(group, number) for group in groups for number in range(size)]


@heliostat.remote(num_cpus=0)
def _name() -> str | None:
    return get_current_pod_name()


def slice_placement_group(
    topology: str,
    accelerator_version: str,
    resources_per_bundle: dict[str, float] | None = None,
    num_slices: int = 1,
    chips_per_vm: int | None = None,
    pg_per_slice: bool = False,
    tpu_resource_per_chip: int | None = None,
    **kwargs: Any,
) -> SlicePlacementGroup:
    """Set TPU slices aside; its arguments are those of `SlicePlacementGroup`.

    Args:
        topology: Such as "4x4".
        accelerator_version: Such as "v6e".
        resources_per_bundle: What each bundle has, if not one CPU and the chips of a host.
        num_slices: How many slices.
        chips_per_vm: The chips of a host, if not what is usual for the topology.
        pg_per_slice: One placement group for each slice, instead of one for all.
        tpu_resource_per_chip: How many of the resource TPU a chip counts for.
        kwargs: Others of `SlicePlacementGroup`.
    """
    return SlicePlacementGroup(
        topology,
        accelerator_version,
        resources_per_bundle,
        num_slices=num_slices,
        chips_per_vm=chips_per_vm,
        pg_per_slice=pg_per_slice,
        tpu_resource_per_chip=tpu_resource_per_chip,
        **kwargs,
    )


def run_on_slice(
    fn: Any,
    *args: Any,
    topology: str | None = None,
    accelerator_version: str | None = None,
    tpu_slice: SlicePlacementGroup | None = None,
    slice_index: int | None = None,
    num_slices: int = 1,
    chips_per_vm: int | None = None,
    head_reservation_timeout_s: float | None = HEAD_S,
    pg_ready_timeout_s: float | None = None,
    **kwargs: Any,
) -> list[Any]:
    """Run a task on every host of a slice, which is set aside until the driver ends, or is given.

    Args:
        fn: A remote function; its CPUs, resources and strategy are those of the slice.
        args: What each call gets.
        topology: Such as "4x4"; not with `tpu_slice`.
        accelerator_version: Such as "v6e"; not with `tpu_slice`.
        tpu_slice: A slice that was set aside before, and stays so.
        slice_index: One of several slices that have a placement group each.
        num_slices: How many slices; not with `tpu_slice`.
        chips_per_vm: As of `SlicePlacementGroup`.
        head_reservation_timeout_s: As of `SlicePlacementGroup`.
        pg_ready_timeout_s: How long to wait for the slice; None: for ever.
        kwargs: What each call gets.

    Returns:
        A reference for each call.

    Raises:
        TypeError: If `fn` is no remote function.
        ValueError: If neither a slice is given nor said what it is.
        TimeoutError: If the slice is not there in time.

    Example:
        >>> from heliostat.util.tpu import run_on_slice
        >>> _ = heliostat.init(resources={"TPU": 4})
        >>> @heliostat.remote
        ... def rank():
        ...     return "here"
        >>> heliostat.get(run_on_slice(rank, topology="2x2", accelerator_version="v6e"))
        ['here']
    """
    if not hasattr(fn, "options"):
        raise TypeError(
            f"fn must be a remote function, got {type(fn).__name__!r}; @remote makes one"
        )
    held = tpu_slice
    if held is None:
        if slice_index is not None:
            raise ValueError("slice_index can only be used when a tpu_slice is given")
        if topology is None or accelerator_version is None:
            raise ValueError("topology and accelerator_version are required without a tpu_slice")
        held = SlicePlacementGroup(
            topology,
            accelerator_version,
            num_slices=num_slices,
            chips_per_vm=chips_per_vm,
            head_reservation_timeout_s=head_reservation_timeout_s,
        )
    places = held._bundles(slice_index)
    try:
        _await_groups([group for group, number in places if number == 0], pg_ready_timeout_s)
    except BaseException:
        if tpu_slice is None:
            held.shutdown()
        raise
    if tpu_slice is None:
        held.release_head_pgs()
    share = {"TPU": held.bundle_resources["TPU"]}
    return [
        fn.options(
            num_cpus=0,
            resources=share,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, number),
        ).remote(*args, **kwargs)
        for group, number in places
    ]


def _await_groups(groups: list[PlacementGroup], timeout_s: float | None) -> None:
    refs = [group.ready() for group in groups]
    ready, late = heliostat.wait(refs, num_returns=len(refs), timeout=timeout_s)
    if late:
        raise TimeoutError(
            f"the TPU slice was not there within {timeout_s} s: others hold its TPUs"
        )
    heliostat.get(ready)


def dispatch(*args: Any, **kwargs: Any) -> list[Any]:
    """An older name of `run_on_slice`.

    Args:
        args: As of `run_on_slice`.
        kwargs: As of `run_on_slice`.
    """
    text = "'dispatch' is deprecated and has been renamed to 'run_on_slice'"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    return run_on_slice(*args, **kwargs)
