"""The life of a placement group as a table, and its bundles. No I/O.

pending     its resources are not there yet
created     its resources are set aside, and tasks and actors may take them
removing    nobody may take them any more; processes that did are being ended
removed     its resources are free again
"""

from __future__ import annotations

from collections.abc import Iterable

from heliostat._core.resources import Supply
from heliostat._engines.local.messages import Grouped

MOVES = {
    ("pending", "created"),
    ("pending", "removed"),
    ("created", "removing"),
    ("removing", "removed"),
}


class Bundle:
    """One bundle of a group that is created: a supply of its own."""

    __slots__ = ("group", "supply")

    def __init__(self, group: Group, supply: Supply) -> None:
        self.group = group
        self.supply = supply


class Group:
    """One placement group."""

    __slots__ = ("bundles", "grouped", "id", "state")

    def __init__(self, grouped: Grouped) -> None:
        self.grouped = grouped
        self.id = grouped.id
        self.state = "pending"
        self.bundles: list[Bundle] = []  # while it has them

    def move(self, state: str) -> None:
        """Go to another state; an impossible move is a bug in the scheduler."""
        assert (self.state, state) in MOVES, f"group {self.id.hex()}: {self.state} -> {state}"
        self.state = state

    def alive(self) -> bool:
        """Whether tasks and actors may have its resources, now or later."""
        return self.state in ("pending", "created")

    def receive(self, supplies: Iterable[Supply]) -> None:
        """Its resources are there."""
        self.bundles = [Bundle(self, supply) for supply in supplies]
        self.move("created")

    def asked(self, index: int) -> list[Bundle]:
        """The bundles that work for bundle `index` may use; below zero: any."""
        return self.bundles if index < 0 else self.bundles[index : index + 1]

    def title(self) -> str:
        """What people call it."""
        return f"placement group {self.grouped.name or self.id.hex()}"

    def check(self) -> None:
        """Assert that it has its bundles exactly while it should."""
        count = len(self.grouped.bundles) if self.state in ("created", "removing") else 0
        assert len(self.bundles) == count, f"{self.title()} is {self.state}"
        for bundle in self.bundles:
            bundle.supply.check()


Take = tuple[Bundle | None, tuple[int, ...]]  # whose resources were taken, and which GPUs
