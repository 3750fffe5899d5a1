"""What it means that the driver forks: the child lets go of its parent's sessions."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heliostat._engines.local.hub import Hub

LIVE: weakref.WeakSet[Hub] = weakref.WeakSet()


def _abandon_all() -> None:
    for hub in list(LIVE):
        hub.abandon()


os.register_at_fork(after_in_child=_abandon_all)
