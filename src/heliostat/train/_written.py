"""What directories say that have no log of ours: a run of Ray Train's, and a trial's, Ray's or ours.

Reads plain files alone (JSON, CSV, text, and which directories there are), and unpickles nothing. Knows
the formats and not what a Result is.
"""

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from heliostat.train._storage import of_rank
from heliostat.train.checkpoint import Checkpoint

# Ray Train's, since 2.40: the checkpoints that are kept, and the metrics of each.
SNAPSHOT = "checkpoint_manager_snapshot.json"
# A trial's: a line of JSON per report; the same as a table; what it was given; why it failed.
RESULTS, PROGRESS, CONFIG, ERROR = "result.json", "progress.csv", "params.json", "error.txt"


class Written(NamedTuple):
    """What was found in a directory."""

    history: list[dict[str, Any]]
    metrics: dict[str, Any] | None
    kept: list[tuple[Checkpoint, dict[str, Any]]]
    latest: Checkpoint | None
    config: dict[str, Any] | None
    error: str | None


def read(where: str, filesystem: Any) -> Written | None:
    """What a directory says; None when it is neither a run of Ray Train's nor a trial's."""
    snapshot = _text(where, SNAPSHOT, filesystem)
    if snapshot is not None:
        return _of_run(json.loads(snapshot), where, filesystem)
    reports = _reports(where, filesystem)
    return None if reports is None else _of_trial(reports, where, filesystem)


def _of_run(snapshot: dict[str, Any], where: str, filesystem: Any) -> Written:
    run = of_rank(where, filesystem)
    results = snapshot["checkpoint_results"]
    # Ray has them in the order of their reports, but for the best, which come last.
    order = snapshot.get("checkpoint_report_indices", range(len(results)))
    kept = [
        (run.checkpoint(each["checkpoint_dir_name"]), each["metrics"])
        for _, each in sorted(zip(order, results, strict=True), key=lambda pair: pair[0])
    ]
    last = snapshot.get("latest_checkpoint_result")
    latest = None if last is None else run.checkpoint(last["checkpoint_dir_name"])
    metrics = None if last is None else last["metrics"]
    return Written([metrics for _, metrics in kept], metrics, kept, latest, None, None)


def _of_trial(reports: list[dict[str, Any]], where: str, filesystem: Any) -> Written:
    run = of_rank(where, filesystem)
    kept = [
        (run.checkpoint(name), report)
        for report in reports
        if (name := report.get("checkpoint_dir_name")) and run.has(name)
    ]
    config = _text(where, CONFIG, filesystem)
    return Written(
        history=reports,
        metrics=reports[-1] if reports else None,
        kept=kept,
        latest=kept[-1][0] if kept else None,
        config=None if config is None else json.loads(config),
        error=_text(where, ERROR, filesystem),
    )


def _reports(where: str, filesystem: Any) -> list[dict[str, Any]] | None:
    """What a trial reported, oldest first; None when there is no such file."""
    lines = _bytes(where, RESULTS, filesystem)
    if lines is not None:
        return list(reports_in(lines))
    table = _bytes(where, PROGRESS, filesystem)
    return None if table is None else list(_rows(_whole_lines(table).decode()))


def reports_in(lines: bytes) -> Iterator[dict[str, Any]]:
    """The reports in a `result.json`, one a line, oldest first; without those that a kill cut off."""
    # Bytes, since text has ends of lines that are none for JSON, such as U+2028.
    for line in _whole_lines(lines).splitlines():
        with contextlib.suppress(ValueError):  # the attempt after it ended the line
            yield json.loads(line)


def _whole_lines(data: bytes) -> bytes:
    """Without a last line that was cut off when its writer was killed."""
    return data[: data.rfind(b"\n") + 1]


def _rows(table: str) -> Iterator[dict[str, Any]]:
    for row in csv.DictReader(io.StringIO(table)):
        yield {name: _value(text) for name, text in row.items()}


def _value(text: str) -> Any:
    """Numbers and truth values out of a table of text."""
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def _text(where: str, name: str, filesystem: Any) -> str | None:
    data = _bytes(where, name, filesystem)
    return None if data is None else data.decode()


def _bytes(where: str, name: str, filesystem: Any) -> bytes | None:
    try:
        if filesystem is None:
            return Path(where, name).read_bytes()
        from heliostat.train import _remote  # noqa: PLC0415 - pyarrow is slow to load

        return _remote.read(f"{where}/{name}", filesystem)
    except FileNotFoundError:
        return None
