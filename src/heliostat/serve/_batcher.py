"""Batcher: which waiting items go into a batch, and when. Pure.

Event in, commands out; items are known by keys. It knows neither functions nor event loops:
`batching.py` calls the user's function and reports back.

A batch begins when it is full, or when its first item has waited long enough; and not before one
of `max_concurrent_batches` is free.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

_EPSILON_S = 1e-9  # clocks are floats: a tick that was asked for must not come too early


class Arrived(NamedTuple):
    """An item wants to be in a batch of its group."""

    key: int
    size: int
    group: str


class Withdrawn(NamedTuple):
    """Nobody waits for the item any more."""

    key: int


class BatchDone(NamedTuple):
    """A batch that was run is over, whatever came of it."""


class Tick(NamedTuple):
    """`next_tick` has come."""


class Configured(NamedTuple):
    """Other limits from now on."""

    max_batch_size: int
    batch_wait_timeout_s: float


class RunBatch(NamedTuple):
    """Call the user's function with these items."""

    keys: tuple[int, ...]


Event = Arrived | Withdrawn | BatchDone | Tick | Configured


@dataclass
class _Waiting:
    size: int
    since: float


class Batcher:
    """Collects items; those of different groups (models) are never in one batch.

    Args:
        max_batch_size: The most that the sizes of a batch's items add up to; an item that is
            larger by itself is a batch by itself.
        batch_wait_timeout_s: How long an item waits for others.
        max_concurrent_batches: How many batches may run at a time.
    """

    def __init__(
        self, max_batch_size: int, batch_wait_timeout_s: float, max_concurrent_batches: int
    ) -> None:
        self._most = max_batch_size
        self._wait_s = batch_wait_timeout_s
        self._concurrent = max_concurrent_batches
        self._running = 0
        self._groups: dict[str, OrderedDict[int, _Waiting]] = {}

    def handle(self, event: Event, now: float) -> list[RunBatch]:
        """Take one event in; the batches are to be run in order."""
        match event:
            case Arrived(key, size, group):
                self._groups.setdefault(group, OrderedDict())[key] = _Waiting(size, now)
            case Withdrawn(key):
                self._withdraw(key)
            case BatchDone():
                self._running -= 1
            case Configured(most, wait_s):
                self._most, self._wait_s = most, wait_s
            case Tick():
                pass
        commands = []
        while self._running < self._concurrent and (ripest := self._ripest(now)) is not None:
            self._running += 1
            commands.append(RunBatch(self._take(ripest)))
        return commands

    def next_tick(self) -> float | None:
        """When `Tick` is wanted next, if at all."""
        if self._running >= self._concurrent:
            return None
        return min((self._ripe_at(group) for group in self._groups), default=None)

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return sum(len(group) for group in self._groups.values())

    def check(self) -> None:
        """Assert what must always be true."""
        assert 0 <= self._running <= self._concurrent
        assert all(self._groups.values()), "a group without items"
        if self._running < self._concurrent:
            assert not any(self._is_full(group) for group in self._groups)

    def _withdraw(self, key: int) -> None:
        for name, group in list(self._groups.items()):
            if group.pop(key, None) is not None and not group:
                del self._groups[name]

    def _ripest(self, now: float) -> str | None:
        """The group whose batch is to run first; None when all may still wait."""
        ripe = [g for g in self._groups if self._is_full(g) or self._ripe_at(g) <= now + _EPSILON_S]
        return min(ripe, key=self._ripe_at, default=None)

    def _ripe_at(self, group: str) -> float:
        return next(iter(self._groups[group].values())).since + self._wait_s

    def _is_full(self, group: str) -> bool:
        size = 0
        for item in self._groups[group].values():
            size += item.size
            if size >= self._most:
                return True
        return False

    def _take(self, name: str) -> tuple[int, ...]:
        group, size = self._groups[name], 0
        keys: list[int] = []
        while group:
            key, item = next(iter(group.items()))
            if keys and size + item.size > self._most:
                break
            size += item.size
            keys.append(key)
            del group[key]
        if not group:
            del self._groups[name]
        return tuple(keys)
