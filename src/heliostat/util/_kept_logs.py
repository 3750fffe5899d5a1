"""What workers have printed, as far as the session keeps it: `list_logs` and `get_log`."""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from heliostat.runtime_context import records
from heliostat.util._rows import check_address


def list_logs(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    glob_filter: str | None = None,
    timeout: int = 30,
) -> dict[str, list[str]]:
    """Names of what workers have printed, by kind; `get_log(filename=...)` reads one.

    They are no files: the last 64 KiB of each stream are kept in the driver's memory, also of the
    last 64 workers that have ended, until the session ends.

    Args:
        address: Accepted as None only: it is always this session.
        node_id: Accepted for Ray's sake: there is one machine.
        node_ip: Accepted for Ray's sake.
        glob_filter: Only names that match this pattern of the shell.
        timeout: Accepted for Ray's sake: the answer is immediate.

    Example:
        >>> from heliostat.util.state import list_logs
        >>> isinstance(list_logs(), dict)
        True
    """
    del node_id, node_ip, timeout
    check_address(address)
    found: dict[str, list[str]] = {}
    for name, row in {log_name(row): row for row in records("logs")}.items():
        if glob_filter is None or fnmatch.fnmatchcase(name, glob_filter):
            found.setdefault(f"worker_{row['stream']}", []).append(name)
    return found


def get_log(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    filename: str | None = None,
    actor_id: str | None = None,
    task_id: str | None = None,
    pid: int | None = None,
    follow: bool = False,
    tail: int = -1,
    timeout: int = 30,
    suffix: str = "out",
    encoding: str | None = "utf-8",
    errors: str | None = "strict",
    submission_id: str | None = None,
    attempt_number: int = 0,
    _interval: float | None = None,
    filter_ansi_code: bool = False,
) -> Iterator[str]:
    """What a worker, actor or task has printed, in pieces; see `list_logs` for how much is kept.

    Args:
        address: Accepted as None only: it is always this session.
        node_id: Accepted for Ray's sake: there is one machine.
        node_ip: Accepted for Ray's sake.
        filename: A name from `list_logs`.
        actor_id: What this actor has printed.
        task_id: What this task has printed; not for calls of actors.
        pid: What this process has printed.
        follow: Go on with what it prints from now on, until the caller stops.
        tail: Only so many of the last lines; -1: all that are kept.
        timeout: Accepted for Ray's sake: the answer is immediate.
        suffix: "out" or "err".
        encoding: How to decode it; None gives bytes.
        errors: What to do with what cannot be decoded, as for `bytes.decode`.
        submission_id: The log of a job, as `JobSubmissionClient.get_job_logs` reads it.
        attempt_number: Only 0: attempts are not told apart.
        _interval: Seconds between two looks when following.
        filter_ansi_code: Leave colours out.

    Raises:
        ValueError: If not exactly one of the things to read is named, or it has printed nothing.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.util.state import get_log
        >>> "".join(get_log(pid=1))
        Traceback (most recent call last):
        ...
        ValueError: nothing is kept of what pid=1 has printed to stdout; list_logs() has what is
    """
    del node_id, node_ip, timeout
    check_address(address)
    chosen = {"filename": filename, "actor_id": actor_id, "task_id": task_id, "pid": pid,
              "submission_id": submission_id}  # fmt: skip
    named = {name: value for name, value in chosen.items() if value is not None}
    if len(named) != 1:
        raise ValueError(f"name exactly one of {', '.join(chosen)}; got {named or 'none of them'}")
    if suffix not in ("out", "err"):
        raise ValueError(f'suffix must be "out" or "err", got {suffix!r}')
    if attempt_number != 0:
        raise ValueError(f"attempt_number={attempt_number}: attempts are not told apart; use 0")
    if submission_id is not None:
        return iter([job_client().get_job_logs(submission_id)])
    ((field, wanted),) = named.items()
    if not _log_lines(field, wanted, suffix):
        what = {"out": "stdout", "err": "stderr"}[suffix]
        raise ValueError(
            f"nothing is kept of what {field}={wanted} has printed to {what}; list_logs() has what is"
        )
    pieces = _pieces(field, wanted, suffix, tail, 0.5 if _interval is None else _interval, follow)
    return (_decoded(piece, encoding, errors, filter_ansi_code) for piece in pieces)


def _pieces(
    field: str, wanted: Any, suffix: str, tail: int, interval_s: float, follow: bool
) -> Iterator[bytes]:
    rows = _log_lines(field, wanted, suffix)
    if tail >= 0:
        rows = rows[len(rows) - tail :] if tail else []
    seen: dict[str, int] = {}
    while True:
        fresh = []
        for row in rows:
            end, known = row["start"] + len(row["data"]), seen.get(row["worker_id"], 0)
            if end > known:
                fresh.append(row["data"][max(0, known - row["start"]) :])
                seen[row["worker_id"]] = end
        if fresh:
            yield b"".join(fresh)
        if not follow:
            return
        time.sleep(interval_s)
        rows = _log_lines(field, wanted, suffix)


def _log_lines(field: str, wanted: Any, suffix: str) -> list[dict[str, Any]]:
    if field == "filename":
        return [row for row in records("logs") if log_name(row) == wanted]
    return [row for row in records("logs") if row["stream"] == suffix and row[field] == wanted]


def log_name(row: Mapping[str, Any]) -> str:
    """What a row of `logs` belongs to is called."""
    return f"worker-{row['worker_id']}-{row['pid']}.{row['stream']}"


def _decoded(data: bytes, encoding: str | None, errors: str | None, plain: bool) -> Any:
    if plain:
        data = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", data)
    return data if encoding is None else data.decode(encoding, errors or "strict")


def job_client() -> Any:
    """Who knows the jobs of this machine."""
    from heliostat.job_submission import JobSubmissionClient  # noqa: PLC0415 - it imports much

    return JobSubmissionClient()
