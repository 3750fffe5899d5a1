"""What a process tells after a signal: read until it has said no more for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T", str, bytes)

WAIT_S = 2.0  # for it to begin, and to end
QUIET_S = 0.05  # after which it has told all
LOOK_EVERY_S = 0.01


def heard(read: Callable[[], T]) -> T:
    """What `read` gives when it has not changed for a moment; nothing, if nothing came.

    Args:
        read: Gives all that was told up to now.
    """
    began = seen_at = time.monotonic()
    text = read()
    while time.monotonic() - began < WAIT_S:
        now = read()
        if now != text:
            text, seen_at = now, time.monotonic()
        elif text and time.monotonic() - seen_at > QUIET_S:
            break
        time.sleep(LOOK_EVERY_S)
    return text
