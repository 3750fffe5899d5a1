"""Tell the person at the terminal what a long wait is for. Knows nothing of how it is found out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection

from heliostat._engines.local.transport.waiting import Lead, Waiter

_WHEN_S = (10.0, 60.0, 600.0)  # then no more
_MOST = 5  # of the objects that are waited for


def wanted() -> bool:
    """Whether somebody is there to read it. HELIOSTAT_WAIT_NOTICE=1 or 0 overrides that."""
    asked = os.environ.get("HELIOSTAT_WAIT_NOTICE")
    if asked is not None:
        return asked == "1"
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # it was closed
        return False


def wait(
    lead: Lead,
    waiter: Waiter,
    timeout_s: float | None,
    explain: Callable[[Collection[bytes]], list[str]],
) -> bool:
    """As `lead.wait`, and say now and then what it waits for.

    Args:
        lead: Who reads.
        waiter: Who waits.
        timeout_s: Seconds to wait; None for ever.
        explain: Given identifiers of objects, why each is not there yet.
    """
    start = time.monotonic()
    for due_s in _WHEN_S:
        if timeout_s is not None and timeout_s <= due_s:
            break
        if lead.wait(waiter, start + due_s - time.monotonic()):
            return True
        _say(due_s, explain(waiter.ids))
    return lead.wait(waiter, None if timeout_s is None else start + timeout_s - time.monotonic())


def _say(seconds: float, reasons: list[str]) -> None:
    if not reasons or sys.stderr is None:
        return
    lines = [
        f"heliostat: waiting for {seconds:.0f} s, because",
        *(f"  {r}" for r in reasons[:_MOST]),
    ]
    if len(reasons) > _MOST:
        lines.append(f"  and {len(reasons) - _MOST} more")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()
