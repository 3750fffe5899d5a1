"""Placement groups of the inline engine: what is set aside, while nothing ever runs at the same time.

A group whose resources another one holds stays pending until that one is removed, which only the
program itself can do: whoever waits for it meanwhile is told so.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from heliostat._core.options import UNIT, Place, Resources
from heliostat._core.resources import Supply
from heliostat.exceptions import DeadlockError, TaskPlacementGroupRemoved

if TYPE_CHECKING:
    from heliostat._core.groups import GroupSpec


class Grant(NamedTuple):
    """Which GPUs a task has; or why it has to fail."""

    gpus: tuple[int, ...]
    error: Exception | None


class _Group:
    def __init__(self, spec: GroupSpec) -> None:
        self.spec = spec
        self.state = "PENDING"
        self.supplies: list[Supply] = []
        self.callbacks: list[Callable[[], None]] = []

    def title(self) -> str:
        return f"placement group {self.spec.name or self.spec.id.hex()}"


class InlineGroups:
    """The placement groups of a session.

    Args:
        supply: What the machine has.
        resolve: Called with a group's id and value, or error, when it is there.
    """

    def __init__(self, supply: Supply, resolve: Callable[[bytes, Any], None]) -> None:
        self._supply = supply
        self._resolve = resolve
        self._groups: dict[bytes, _Group] = {}

    def create(self, spec: GroupSpec) -> None:
        """Set its resources aside if they are there.

        Raises:
            ValueError: If the name is taken.
        """
        living = [g for g in self._groups.values() if g.state != "REMOVED"]
        if spec.name and any(group.spec.name == spec.name for group in living):
            raise ValueError(
                f"a placement group named {spec.name!r} exists already; remove it first, or use another "
                "name"
            )
        self._groups[spec.id] = _Group(spec)
        self._fill()

    def _fill(self) -> None:
        for group in self._groups.values():
            supplies = None
            if group.state == "PENDING":
                supplies = self._supply.take_bundles(group.spec.bundles)
            if supplies is not None:
                group.state, group.supplies = "CREATED", supplies
                self._settle(group, pickle.loads(group.spec.handle))

    def _settle(self, group: _Group, value: Any) -> None:
        self._resolve(group.spec.id, value)
        callbacks, group.callbacks = group.callbacks, []
        for callback in callbacks:
            callback()

    def remove(self, id_: bytes, failure: Callable[[Exception], Any]) -> None:
        """Give its resources back; those that wait for it get the error that `failure` wraps."""
        group = self._groups.get(id_)
        if group is None or group.state == "REMOVED":
            return
        pending, group.state = group.state == "PENDING", "REMOVED"
        self._supply.give_bundles(group.supplies)
        group.supplies = []
        if pending:
            self._settle(group, failure(TaskPlacementGroupRemoved(f"{group.title()} was removed")))
        self._fill()

    def clear(self) -> None:
        """Forget every group, as if there had never been any."""
        for group in self._groups.values():
            self._supply.give_bundles(group.supplies)
        self._groups.clear()

    def take(self, name: str, shape: Resources, place: Place | None) -> Grant:
        """What a task has that begins now; it runs alone, so it is given back at once."""
        group = None if place is None else self._groups.get(place[0])
        if place is not None and (group is None or group.state == "REMOVED"):
            return Grant(
                (), TaskPlacementGroupRemoved(f"the placement group of {name} was removed")
            )
        if group is not None and group.state == "PENDING":
            return Grant((), self.waits_for_ever(group.spec.id, name))
        supplies = [self._supply] if group is None else group.supplies
        if place is not None and place[1] >= 0:
            supplies = supplies[place[1] : place[1] + 1]
        for supply in supplies:
            gpus = supply.take(shape)
            if gpus is not None:
                supply.give(shape, gpus)
                return Grant(gpus, None)
        # Groups hold what it wants; but nothing runs there now.
        return Grant(tuple(range(-(-dict(shape).get("GPU", 0) // UNIT))), None)

    def pending(self, id_: bytes) -> bool:
        """Whether this is a group without its resources."""
        group = self._groups.get(id_)
        return group is not None and group.state == "PENDING"

    def waits_for_ever(self, id_: bytes, who: str) -> DeadlockError:
        """The error of somebody who waits for a pending group."""
        return DeadlockError(
            f"{who} would wait for ever for {self._groups[id_].title()}, whose resources other groups "
            'hold: with engine="inline" nobody can remove one meanwhile. Remove one before'
        )

    def when_ready(self, id_: bytes, callback: Callable[[], None]) -> None:
        """Call back when a pending group has its resources, or is removed."""
        self._groups[id_].callbacks.append(callback)

    def rows(self, node_id: str, namespace: str) -> list[dict[str, Any]]:
        """What there is and was."""
        return [
            {
                "placement_group_id": id_.hex(),
                "name": group.spec.name,
                "ray_namespace": namespace,
                "creator_job_id": node_id,
                "state": group.state,
                "bundles": [{n: u / UNIT for n, u in shape} for shape in group.spec.bundles],
                "strategy": group.spec.strategy,
                "is_detached": group.spec.detached,
                "node_id": node_id,
                "reason": "other groups hold its resources" if group.state == "PENDING" else "",
            }
            for id_, group in self._groups.items()
        ]
