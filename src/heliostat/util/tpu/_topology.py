"""Arithmetic about TPUs: chips of a topology, chips of a host, workers of a slice. Asks nobody.

A slice is a grid of chips that are wired together, such as 4x4; its hosts have four chips each, but
small grids of the generations v5litepod and v6e are whole on one host.
"""

import math
import os
import re

__all__ = [
    "check_topology",
    "chips_of",
    "chips_per_host",
    "get_tpu_coordinator_env_vars",
    "get_tpu_num_slices_for_workers",
    "get_tpu_version_from_type",
    "get_tpu_worker_resources",
    "pod_type",
    "resources_per_chip",
    "size_of_pod",
]

GENERATIONS = ("v2", "v3", "v4", "v5p", "v5litepod", "v6e", "v7x")
CORES_OF_ONE = ("v5litepod", "v6e")  # one core a chip; the others have two
CHIPS_PER_HOST = 4
ON_ONE_HOST = ("1x1", "2x2", "2x4")  # of the generations with one core a chip
PORT = "8081"  # of what coordinates several slices
PER_CHIP = "RAY_TPU_RESOURCE_PER_CHIP"

_FLAT = ("1x1", "2x2", "2x4", "2x8", "4x4", "4x8", "8x8", "8x16", "16x16", "16x32", "32x32")
_SMALL = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")
_SEVEN = ("4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16")
_GRIDS = {
    "v2": (*_FLAT[4:9], "4x4"),
    "v3": _FLAT[4:],
    "v5litepod": _FLAT[:9],
    "v6e": _FLAT[:9],
    "v7x": (*_SMALL, *_SEVEN),
}
_LARGEST = {"v4": (12, 12, 16), "v5p": (16, 16, 24)}  # in steps of four chips


def get_tpu_version_from_type(accelerator_type: str) -> str:
    """The generation that a name of accelerators means.

    Args:
        accelerator_type: Such as "TPU-V6E", "tpu7x" or "v6e".

    Raises:
        ValueError: If there is no such generation.

    Example:
        >>> get_tpu_version_from_type("TPU-V6E")
        'v6e'
    """
    name = accelerator_type.lower()
    if name.startswith("tpu-"):
        version = name.removeprefix("tpu-")
    elif name.startswith("tpu"):
        version = "v" + name.removeprefix("tpu")
    else:
        version = name
    if version not in GENERATIONS:
        raise ValueError(
            f"Invalid accelerator_type: {accelerator_type!r} is no TPU; the generations are "
            f"{', '.join(GENERATIONS)}, with or without TPU- before it"
        )
    return version


def chips_of(topology: str) -> int:
    """How many chips a topology has.

    Raises:
        ValueError: If it is not numbers with an x between them.

    Example:
        >>> chips_of("2x2x2")
        8
    """
    if re.fullmatch(r"\d+(x\d+)+", topology.strip().lower()) is None:
        raise ValueError(
            f'a topology is numbers with an x between them, as "4x4", got {topology!r}'
        )
    return math.prod(map(int, topology.strip().lower().split("x")))


def chips_per_host(topology: str, version: str) -> int:
    """How many chips each host of a slice has.

    Example:
        >>> chips_per_host("2x4", "v6e"), chips_per_host("4x4", "v6e")
        (8, 4)
    """
    whole = version in CORES_OF_ONE and topology.strip().lower() in ON_ONE_HOST
    return chips_of(topology) if whole else CHIPS_PER_HOST


def check_topology(topology: str, version: str) -> None:
    """Refuse a grid that a generation is not made in.

    Raises:
        ValueError: With the generation's name.

    Example:
        >>> check_topology("4x4x4", "v6e")
        Traceback (most recent call last):
            ...
        ValueError: Invalid accelerator topology: '4x4x4' for accelerator version: 'v6e'
    """
    name = topology.strip().lower()
    there = name in _GRIDS.get(version, _SMALL)
    if not there and version in _LARGEST and name.count("x") == 2:
        sides = list(map(int, name.split("x")))
        fits = zip(sides, _LARGEST[version], strict=True)
        there = all(side and side % 4 == 0 and side <= most for side, most in fits)
    if not there:
        raise ValueError(
            f"Invalid accelerator topology: {topology!r} for accelerator version: {version!r}"
        )


def pod_type(topology: str, version: str) -> str:
    """What Google calls a slice: its generation and how many cores it has.

    Example:
        >>> pod_type("2x2x2", "v4")
        'v4-16'
    """
    return f"{version}-{chips_of(topology) * (1 if version in CORES_OF_ONE else 2)}"


def size_of_pod(pod: str, chips: int) -> int | None:
    """How many hosts a slice of Google's name has, if each has that many chips.

    Example:
        >>> size_of_pod("v4-16", 4)
        2
    """
    version, _, cores = pod.partition("-")
    per_host = chips * (1 if version in CORES_OF_ONE else 2)
    return math.ceil(int(cores) / per_host) if per_host else None


def resources_per_chip() -> int:
    """How many of the resource TPU a chip counts for: 1, or what RAY_TPU_RESOURCE_PER_CHIP says.

    Raises:
        ValueError: If that is no whole number above 0.
    """
    said = os.environ.get(PER_CHIP, "1")
    if not said.isdecimal() or int(said) < 1:
        raise ValueError(f"{PER_CHIP} must be a positive integer, got: {said!r}")
    return int(said)


def get_tpu_worker_resources(
    topology: str,
    accelerator_type: str,
    resources_per_worker: dict[str, float] | None = None,
    num_slices: int = 1,
    chips_per_vm: int | None = None,
    tpu_resource_per_chip: int | None = None,
) -> tuple[int, dict[str, float]]:
    """How many workers fill slices of this topology, and what each asks for.

    Args:
        topology: Such as "4x4".
        accelerator_type: Such as "TPU-V6E".
        resources_per_worker: What each asks for, if not one CPU and the chips of a host.
        num_slices: How many slices.
        chips_per_vm: The chips of a host, if not what is usual for the topology.
        tpu_resource_per_chip: How many of the resource TPU a chip counts for.

    Returns:
        The number of workers, and their resources.

    Raises:
        ValueError: For another generation, or if the workers do not fill the slices evenly.

    Example:
        >>> get_tpu_worker_resources("4x4", "TPU-V6E")
        (4, {'CPU': 1, 'TPU': 4})
    """
    scale = resources_per_chip() if tpu_resource_per_chip is None else tpu_resource_per_chip
    if scale <= 0:
        raise ValueError(f"`tpu_resource_per_chip` must be a positive integer, got {scale!r}")
    version = get_tpu_version_from_type(accelerator_type)
    chips = chips_per_host(topology, version) if chips_per_vm is None else chips_per_vm
    if chips <= 0:
        raise ValueError(f"chips_per_vm must be positive, got {chips!r}")
    each = {"CPU": 1, "TPU": chips * scale} | (resources_per_worker or {})
    if each["TPU"] <= 0:
        raise ValueError(f"TPU resources must be positive, got {each['TPU']!r}")
    per_slice = chips_of(topology) * scale
    if per_slice % each["TPU"]:
        raise ValueError(
            f"workers of {each['TPU']} TPU do not divide the {per_slice} of a {topology} slice "
            "evenly; ask for a divisor of it"
        )
    asked = list(resources_per_worker or {})
    order = [*asked, *(key for key in each if key not in asked)]
    return int(per_slice * num_slices // each["TPU"]), {key: each[key] for key in order}


def get_tpu_num_slices_for_workers(
    topology: str,
    accelerator_type: str,
    num_workers: int,
    resources_per_worker: dict[str, float] | None = None,
    tpu_resource_per_chip: int | None = None,
) -> int:
    """How many slices so many workers need; 1 where that cannot be said.

    Args:
        topology: Such as "4x4".
        accelerator_type: Such as "TPU-V6E".
        num_workers: How many there are to be.
        resources_per_worker: What each asks for, if not the chips of a host.
        tpu_resource_per_chip: How many of the resource TPU a chip counts for.

    Example:
        >>> get_tpu_num_slices_for_workers("4x4", "TPU-V6E", 8)
        2
    """
    if not topology or not accelerator_type:
        return 1
    try:
        fit, _ = get_tpu_worker_resources(
            topology,
            accelerator_type,
            resources_per_worker,
            tpu_resource_per_chip=tpu_resource_per_chip,
        )
    except ValueError:
        return 1
    return max(1, math.ceil(num_workers / fit))


def get_tpu_coordinator_env_vars(
    coordinator_address: str, num_slices: int, slice_id: int, coordinator_port: str = PORT
) -> dict[str, str]:
    """The environment that lets several slices find one another.

    Args:
        coordinator_address: The host that coordinates them.
        num_slices: How many there are.
        slice_id: Which of them this is.
        coordinator_port: Where the coordinator listens.

    Example:
        >>> get_tpu_coordinator_env_vars("10.0.0.1", 2, 0)["MEGASCALE_NUM_SLICES"]
        '2'
    """
    return {
        "MEGASCALE_COORDINATOR_ADDRESS": coordinator_address,
        "MEGASCALE_PORT": coordinator_port,
        "MEGASCALE_NUM_SLICES": str(num_slices),
        "MEGASCALE_SLICE_ID": str(slice_id),
    }
