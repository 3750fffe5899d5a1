"""The session's dashboard: begun when somebody asks for it, and ended before the session.

It is loaded by name, so that nothing below it knows it, and nothing of it is there unless asked for.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

_shown: Any = None


def check(options: Mapping[str, Any]) -> int | None:
    """The port that `init` was told; None: any.

    Raises:
        ValueError: For a host that is not this machine, or a port that there is not.
    """
    host = options.get("dashboard_host", "127.0.0.1")
    if host not in ("127.0.0.1", "localhost"):
        raise ValueError(
            f"dashboard_host={host!r}: the dashboard is for this machine only; leave it out, and "
            "reach it from elsewhere through `ssh -L 8265:127.0.0.1:8265`"
        )
    port = options.get("dashboard_port")
    if port is None or (type(port) is int and 0 <= port <= 65535):
        return port
    raise ValueError(f"dashboard_port must be a whole number up to 65535, got {port!r}")


def begin(options: Mapping[str, Any], undo: Callable[[], None] | None) -> None:
    """Show the session, and say where; `undo` what was begun if that cannot be."""
    try:
        _begin(check(options))
    except BaseException:
        if undo is not None:
            undo()
        raise
    sys.stderr.write(f"heliostat: the dashboard is at {url()}\n")


def _begin(port: int | None) -> None:
    global _shown
    if _shown is None:
        _shown = importlib.import_module("heliostat.dashboard").start(port)


def told(there: bool) -> dict[str, str]:
    """Where it is, for another process that wants to look; it may begin now.

    Args:
        there: Whether there is a session.
    """
    if not there:
        return {"error": "its session has ended"}
    try:
        _begin(None)
    except OSError as error:
        return {"error": f"its dashboard cannot begin: {error}"}
    return {"url": url(), "run": str(_shown.run), "pid": str(os.getpid())}


def url() -> str:
    """Where it is, with the secret; empty if it is not."""
    return "" if _shown is None else str(_shown.url)


def summary(python: str, version: str) -> str:
    """What a notebook shows of a session: its versions, and where its dashboard is.

    Example:
        >>> "<td>3.11.9</td>" in summary("3.11.9", "0.1.0")
        True
    """
    where = url()
    link = f'<a href="{where}" target="_blank">{where.partition("/?")[0]}</a>'
    shown = link if where else "none; heliostat.init(include_dashboard=True) shows one"
    rows = {"Python": python, "Heliostat": version, "Dashboard": shown}
    cells = (f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows.items())
    return f"<table>{''.join(cells)}</table>"


def end() -> None:
    """Close it, while the session still answers."""
    global _shown
    shown, _shown = _shown, None
    if shown is not None:
        shown.close()


def forget() -> None:
    """It is the parent's, of which this process is a fork."""
    global _shown
    _shown = None
