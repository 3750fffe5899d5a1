"""The words of `heliostat.util.collective`: backends and ways to reduce."""

from __future__ import annotations

from enum import Enum

__all__ = ["Backend", "ReduceOp"]


class ReduceOp(Enum):
    """How values of several ranks become one."""

    SUM = 0
    PRODUCT = 1
    MIN = 2
    MAX = 3


class Backend:
    """The names of backends; there is one here, gloo.

    Example:
        >>> Backend("gloo")
        'GLOO'
    """

    NCCL = "NCCL"
    GLOO = "GLOO"

    def __new__(cls, name: str) -> str:  # type: ignore[misc]  # as in Ray, it gives a string
        """The name as constants have it.

        Raises:
            ValueError: For any other name.
        """
        known = {"NCCL": cls.NCCL, "GLOO": cls.GLOO, "TORCH_GLOO": cls.GLOO}
        if str(name).upper() not in known:
            raise ValueError(f"backend must be 'gloo', got {name!r}")
        return known[str(name).upper()]
