"""Fractional CPU, GPU and custom resources of one machine, as arithmetic in ten-thousandths.

A supply is the whole machine, or a bundle of a placement group, which is a supply taken out of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from heliostat._core.options import UNIT, Resources


class Supply:
    """What there is and what is free. GPUs are also counted one by one.

    Args:
        total: What there is.
        gpus: The GPUs by number, and how much of each; all of them from 0 when left out.

    Example:
        >>> supply = Supply({"CPU": 2 * UNIT, "GPU": UNIT})
        >>> supply.take((("CPU", UNIT), ("GPU", UNIT // 2)))
        (0,)
        >>> supply.take((("GPU", UNIT),)) is None
        True
    """

    def __init__(self, total: Mapping[str, int], gpus: Mapping[int, int] | None = None) -> None:
        self.total = dict(total)
        self.free = dict(total)
        if gpus is None:
            gpus = dict.fromkeys(range(total.get("GPU", 0) // UNIT), UNIT)
        self._whole = dict(gpus)
        self._gpus = dict(gpus)

    def take(self, shape: Resources) -> tuple[int, ...] | None:
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
            fits = [index for index, free in self._gpus.items() if free >= units]
            return (min(fits, key=lambda index: (self._gpus[index], index)),) if fits else None
        whole = [index for index, free in self._gpus.items() if free == UNIT]
        count = -(-units // UNIT)
        return tuple(whole[:count]) if len(whole) >= count else None

    def give(self, shape: Resources, gpus: tuple[int, ...]) -> None:
        """Give back what `take` took."""
        for name, units in shape:
            self.free[name] += units
            if name == "GPU":
                for index in gpus:
                    self._gpus[index] += min(units, UNIT)

    def take_bundles(self, shapes: Sequence[Resources]) -> list[Supply] | None:
        """A supply for each bundle, taken from this one; or None, and nothing is taken.

        The largest shares of GPUs are taken first, so that they fit if they can.
        """
        taken: dict[int, tuple[int, ...]] = {}
        for index in sorted(range(len(shapes)), key=lambda i: -dict(shapes[i]).get("GPU", 0)):
            gpus = self.take(shapes[index])
            if gpus is None:
                for other, others in taken.items():
                    self.give(shapes[other], others)
                return None
            taken[index] = gpus
        return [bundle(shape, taken[index]) for index, shape in enumerate(shapes)]

    def give_bundles(self, supplies: Sequence[Supply]) -> None:
        """Give back what `take_bundles` took; nothing of it is in use."""
        for supply in supplies:
            self.give(tuple(supply.total.items()), tuple(supply._whole))

    def lend(self, shape: Resources) -> None:
        """A blocked task lends its CPUs to others."""
        for name, units in shape:
            if name == "CPU":
                self.free[name] += units

    def reclaim(self, shape: Resources) -> None:
        """A blocked task goes on: its CPUs count again, even if others use them meanwhile."""
        for name, units in shape:
            if name == "CPU":
                self.free[name] -= units

    def check(self) -> None:
        """Assert that nothing but lent CPUs can be below zero and nothing above what there is."""
        for name, free in self.free.items():
            assert free <= self.total[name], f"{name}: more free than there is"
            assert free >= 0 or name == "CPU", f"{name} is below zero"
        assert all(0 <= free <= self._whole[index] for index, free in self._gpus.items())


def bundle(shape: Resources, gpus: tuple[int, ...]) -> Supply:
    """What was taken for a bundle, as a supply of its own."""
    share = min(dict(shape).get("GPU", 0), UNIT)
    return Supply(dict(shape), dict.fromkeys(gpus, share))


def missing(total: Mapping[str, int], shape: Resources) -> str:
    """What `shape` asks for beyond all there is, in words; empty if it could be met."""
    lacks = [
        f"{name}: {units / UNIT:g} (there is {total.get(name, 0) / UNIT:g})"
        for name, units in shape
        if units > total.get(name, 0)
    ]
    return ", ".join(lacks)


def remedy(total: Mapping[str, int], shape: Resources) -> str:
    """How to start a session that could meet `shape`.

    Example:
        >>> remedy({"CPU": UNIT}, (("CPU", UNIT), ("GPU", 2 * UNIT), ("spoon", UNIT // 2)))
        "start the session with init(num_gpus=2, resources={'spoon': 1})"
    """
    lacks = {name: -(-units // UNIT) for name, units in shape if units > total.get(name, 0)}
    known = {"CPU": "num_cpus", "GPU": "num_gpus", "object_store_memory": "object_store_memory"}
    asked = [f"{known[name]}={count}" for name, count in lacks.items() if name in known]
    custom = {name: count for name, count in lacks.items() if name not in known}
    if custom.pop("memory", None):
        return "use a machine with more memory"
    if custom:
        asked.append(f"resources={custom}")
    return f"start the session with init({', '.join(asked)})" if asked else "share them otherwise"


def together(shapes: Iterable[Resources]) -> Resources:
    """What several shapes ask for in sum."""
    wanted: dict[str, int] = {}
    for shape in shapes:
        for name, units in shape:
            wanted[name] = wanted.get(name, 0) + units
    return tuple(wanted.items())


def missing_for(total: Mapping[str, int], shapes: Sequence[Resources]) -> str:
    """What bundles ask for together beyond all there is, in words; empty if it could be met."""
    lacks = missing(total, together(shapes))
    if lacks or Supply(total).take_bundles(shapes) is not None:
        return lacks
    return f"GPU: these shares cannot be laid onto {total.get('GPU', 0) / UNIT:g} GPUs"
