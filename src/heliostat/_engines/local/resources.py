"""Fractional CPU, GPU and custom resources of one machine, as arithmetic in ten-thousandths."""

from __future__ import annotations

from collections.abc import Mapping

from heliostat._core.options import UNIT
from heliostat._engines.local.messages import Shape


class Resources:
    """What there is and what is free. GPUs are also counted one by one.

    Example:
        >>> pool = Resources({"CPU": 2 * UNIT, "GPU": UNIT})
        >>> pool.take((("CPU", UNIT), ("GPU", UNIT // 2)))
        (0,)
        >>> pool.take((("GPU", UNIT),)) is None
        True
    """

    def __init__(self, total: Mapping[str, int]) -> None:
        self.total = dict(total)
        self.free = dict(total)
        self._gpus = [UNIT] * (total.get("GPU", 0) // UNIT)

    def take(self, shape: Shape) -> tuple[int, ...] | None:
        """Take what `shape` asks for; the GPUs given, or None if it does not fit now."""
        free = self.free
        for name, units in shape:
            if free.get(name, 0) < units:
                return None
        if len(shape) == 1 and shape[0][0] != "GPU":  # nearly every task
            free[shape[0][0]] -= shape[0][1]
            return ()
        gpus: tuple[int, ...] = ()
        for name, units in shape:
            if name == "GPU":
                chosen = self._pick_gpus(units)
                if chosen is None:
                    return None
                gpus = chosen
        for name, units in shape:
            free[name] -= units
        share = dict(shape).get("GPU", 0)
        for index in gpus:
            self._gpus[index] -= min(share, UNIT)
        return gpus

    def _pick_gpus(self, units: int) -> tuple[int, ...] | None:
        """Whole free ones for whole shares; the fullest that still has room for a fraction."""
        if units < UNIT:
            fits = [index for index, free in enumerate(self._gpus) if free >= units]
            return (min(fits, key=lambda index: (self._gpus[index], index)),) if fits else None
        whole = [index for index, free in enumerate(self._gpus) if free == UNIT]
        count = -(-units // UNIT)
        return tuple(whole[:count]) if len(whole) >= count else None

    def give(self, shape: Shape, gpus: tuple[int, ...]) -> None:
        """Give back what `take` took."""
        for name, units in shape:
            self.free[name] += units
            if name == "GPU":
                for index in gpus:
                    self._gpus[index] += min(units, UNIT)

    def lend(self, shape: Shape) -> None:
        """A blocked task lends its CPUs to others."""
        for name, units in shape:
            if name == "CPU":
                self.free[name] += units

    def reclaim(self, shape: Shape) -> None:
        """A blocked task goes on: its CPUs count again, even if others use them meanwhile."""
        for name, units in shape:
            if name == "CPU":
                self.free[name] -= units

    def check(self) -> None:
        """Assert that nothing but lent CPUs can be below zero and nothing above what there is."""
        for name, free in self.free.items():
            assert free <= self.total[name], f"{name}: more free than there is"
            assert free >= 0 or name == "CPU", f"{name} is below zero"
        assert all(0 <= free <= UNIT for free in self._gpus)


def missing(total: Mapping[str, int], shape: Shape) -> str:
    """What `shape` asks for beyond all there is, in words; empty if it could be met."""
    lacks = [
        f"{name}: {units / UNIT:g} (there is {total.get(name, 0) / UNIT:g})"
        for name, units in shape
        if units > total.get(name, 0)
    ]
    return ", ".join(lacks)
