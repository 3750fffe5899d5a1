"""Say something once in a process: for warnings in code that runs often."""

from __future__ import annotations

import time

__all__ = ["disable_log_once_globally", "enable_periodic_logging", "log_once", "reset_log_once"]

_PERIOD_S = 60.0

_seen: dict[str, float] = {}
_disabled = False
_periodic = False


def log_once(key: str) -> bool:
    """Whether this is the first time somebody asks with this key, in this process.

    Args:
        key: What the message is about.

    Example:
        >>> from heliostat.util import log_once
        >>> log_once("doc"), log_once("doc")
        (True, False)
    """
    if _disabled:
        return False
    now = time.monotonic()
    last = _seen.get(key)
    if last is None or (_periodic and now - last > _PERIOD_S):
        _seen[key] = now
        return True
    return False


def disable_log_once_globally() -> None:
    """From now on `log_once` says no to everything in this process."""
    global _disabled
    _disabled = True


def enable_periodic_logging() -> None:
    """From now on `log_once` says yes again once a minute for each key."""
    global _periodic, _disabled
    _periodic, _disabled = True, False


def reset_log_once(key: str | None = None) -> None:
    """Forget that somebody asked: with this key, or with any."""
    if key is None:
        _seen.clear()
    else:
        _seen.pop(key, None)
