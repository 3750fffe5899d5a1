"""How many GPUs there are, and the names that CUDA_VISIBLE_DEVICES gives them."""

from __future__ import annotations

import os
from collections.abc import Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"
NVIDIA = "/proc/driver/nvidia/gpus"


def entries(visible: str) -> list[str]:
    """The devices that the variable names.

    Example:
        >>> entries("4, 6"), entries(""), entries("-1")
        (['4', '6'], [], [])
    """
    found = (entry.strip() for entry in visible.split(","))
    return [entry for entry in found if entry not in ("", "-1")]


def gpu_count(visible: str | None) -> int:
    """GPUs in CUDA_VISIBLE_DEVICES; those of the machine if that is not set.

    Example:
        >>> gpu_count("4,6")
        2
    """
    if visible is not None:
        return len(entries(visible))
    return len(os.listdir(NVIDIA)) if os.path.isdir(NVIDIA) else 0


def ids(visible: str | None, gpus: Sequence[int]) -> tuple[int | str, ...]:
    """What programs call these GPUs: numbers, or as the variable names them if it is set.

    Args:
        visible: The variable's value in the driver; None if it has none.
        gpus: The session's own numbers for them, from 0.

    Example:
        >>> ids(None, (0, 1)), ids("4,6", (1,)), ids("GPU-8f2,GPU-1c0", (0,))
        ((0, 1), ('6',), ('GPU-8f2',))
    """
    if visible is None:
        return tuple(gpus)
    known = entries(visible)  # fewer, if an environment has given the variable another value
    return tuple(known[index] if index < len(known) else str(index) for index in gpus)


def check(count: int, visible: str) -> None:
    """Refuse more GPUs than can be seen.

    Raises:
        ValueError: If the variable names fewer.

    Example:
        >>> check(2, "4,6,7")
    """
    seen = len(entries(visible))
    if count > seen:
        raise ValueError(
            f"num_gpus={count}, but {VISIBLE}={visible!r} names {seen}; ask for {seen} or fewer, "
            f"or unset the variable"
        )
