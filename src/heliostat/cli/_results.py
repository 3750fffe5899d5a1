"""`heliostat tune results`, `tune gc` and `train results`: what studies and runs have left on disk.

Reads their directories as `ExperimentAnalysis` and `Result.from_path` do. Only from paths that you
trust: the logs of studies hold pickled configurations.
"""

import argparse
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heliostat.cli._errors import CommandError
from heliostat.cli._tables import megabytes, table, width, write_json

_CHECKPOINT = re.compile(r"checkpoint_\d+")
_STAGE = re.compile(r".+\.stage-(\d+)")
_YOUNG_S = 3600.0  # a study that runs may not have told of it yet
_MOST = 50

Row = dict[str, Any]


def add_parser(commands: Any) -> None:
    """Add `tune` and `train`, with their verbs."""
    tune = commands.add_parser("tune", help="results of a study, and what it has left over")
    verbs = tune.add_subparsers(dest="verb", required=True, metavar="VERB")
    results = verbs.add_parser("results", help="its trials, the best first")
    results.add_argument("path", metavar="PATH", help="the study's directory")
    results.add_argument("--metric", help="to compare by; the study's own report has the names")
    results.add_argument("--mode", choices=["min", "max"], default="min", help="(%(default)s)")
    results.add_argument("--limit", type=int, default=_MOST, help="(%(default)s)")
    results.set_defaults(carry_out=tune_results)
    gc = verbs.add_parser(
        "gc", help="checkpoints that no trial knows: killed before it told of them"
    )
    gc.add_argument("path", metavar="PATH", help="the study's directory")
    gc.add_argument("-y", "--yes", action="store_true", help="delete them; else they are listed")
    gc.set_defaults(carry_out=tune_gc)
    train = commands.add_parser("train", help="results of a training run")
    run = train.add_subparsers(dest="verb", required=True, metavar="VERB").add_parser(
        "results", help="what it reported, and its checkpoints"
    )
    run.add_argument("path", metavar="PATH", help="the run's directory")
    run.set_defaults(carry_out=train_results)
    for parser in (results, gc, run):
        parser.add_argument("--json", action="store_true", help="for programs")


def _study(path: str) -> Any:
    from heliostat.tune.analysis import ExperimentAnalysis  # noqa: PLC0415 - other commands do without

    if not Path(path).expanduser().is_dir():
        raise CommandError(f"there is no directory {path!r}; ResultGrid.experiment_path names it")
    try:
        return ExperimentAnalysis(path)
    except ValueError as error:
        below = sorted(log.parent.name for log in Path(path).glob("*/experiment-*.jsonl"))
        hint = f"; there are studies below it: {', '.join(dict.fromkeys(below))}" if below else ""
        raise CommandError(f"{error}{hint}") from error


def tune_results(options: argparse.Namespace) -> int:
    """Print the trials of a study; the exit code."""
    trials = _study(options.path).trials
    rows = [_trial_row(trial) for trial in trials]
    if options.metric is not None:
        known = sorted({name for row in rows for name in row["metrics"]})
        if options.metric not in known:
            raise CommandError(
                f"no trial reported {options.metric!r}; there are {', '.join(known)}"
            )
        sign = 1 if options.mode == "min" else -1
        rows.sort(key=lambda row: _rank(row["metrics"].get(options.metric), sign))
    if options.json:
        write_json(rows)
        return 0
    telling = _telling(rows, options.metric)
    shown = [
        {
            "trial": row["trial_id"],
            "status": row["status"],
            **{f"config/{name}": value for name, value in row["config"].items()},
            **{name: row["metrics"].get(name) for name in telling},
            "checkpoint": os.path.basename(row["checkpoint"] or ""),
        }
        for row in rows[: options.limit]
    ]
    if shown:
        columns = list(dict.fromkeys(name for row in shown for name in row))
        sys.stdout.write(table(shown, columns, width()) + "\n")
    more = "" if len(rows) <= options.limit else f", the first {options.limit} shown"
    sys.stdout.write(f"{len(rows)} trials{more}\n")
    for row in rows:
        if row["error"]:
            sys.stdout.write(f"{row['trial_id']}: {row['error']}\n")
    return 0


def _trial_row(trial: Any) -> Row:
    return {
        "trial_id": trial.trial_id,
        "status": trial.status,
        "config": trial.config,
        "metrics": {k: v for k, v in trial.last_result.items() if k != "config"},
        "checkpoint": trial.checkpoint,
        "path": trial.path,
        "error": None if trial.error is None else str(trial.error).strip().rpartition("\n")[2],
    }


_OURS = {
    "trial_id", "date", "hostname", "node_ip", "pid", "experiment_id", "experiment_tag", "timestamp",
    "time_this_iter_s", "time_since_restore", "iterations_since_restore", "done", "checkpoint_dir_name",
    "timesteps_since_restore", "timesteps_total", "episodes_total", "should_checkpoint",
}  # fmt: skip


def _telling(rows: list[Row], first: str | None) -> list[str]:
    """The metrics that a table shows: numbers of the user's, the one compared by first."""
    names = dict.fromkeys([first] if first else [])
    for row in rows:
        names.update(
            (name, None)
            for name, value in row["metrics"].items()
            if name not in _OURS and isinstance(value, int | float | str)
        )
    return list(names)


def _rank(value: Any, sign: int) -> tuple[bool, float]:
    """Numbers in order; what is none, or not a number, after them."""
    good = isinstance(value, int | float) and value == value
    return not good, sign * value if good else 0.0


def tune_gc(options: argparse.Namespace) -> int:
    """List or delete checkpoints that nothing refers to; the exit code."""
    directory = Path(options.path).expanduser()
    trials = _study(options.path).trials
    known = {
        os.path.abspath(path)
        for trial in trials
        for path in (trial.checkpoint, trial.loan, *(kept for kept, _ in trial.checkpoints))
        if path is not None
    }
    found: list[Row] = [
        {"path": str(path), "bytes": _size(path)} for path in _left_over(directory, known)
    ]
    if options.yes:
        for row in found:
            shutil.rmtree(row["path"])
    if options.json:
        write_json({"deleted": options.yes, "left_over": found})
        return 0
    for row in found:
        sys.stdout.write(f"{megabytes(row['bytes'])}  {row['path']}\n")
    total = megabytes(sum(row["bytes"] for row in found))
    done = "deleted" if options.yes else "left over; --yes deletes them"
    what = f"{len(found)} directories, {total}, {done}" if found else "nothing is left over"
    sys.stdout.write(f"{what}\n")
    return 0


def _left_over(directory: Path, known: set[str]) -> Iterator[Path]:
    """Checkpoints that no trial knows and no trainer looks after, and half of one."""
    now = time.time()
    for path in sorted(directory.glob("*/*")):
        if not path.is_dir() or path.is_symlink() or os.path.abspath(path) in known:
            continue
        stage = _STAGE.fullmatch(path.name)
        if stage is None and not _CHECKPOINT.fullmatch(path.name):
            continue
        if stage is not None and Path(f"/proc/{stage[1]}").exists():
            continue
        a_trainers = (path.parent / "run.jsonl").exists()
        if not a_trainers and now - path.stat().st_mtime > _YOUNG_S:
            yield path


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())


def train_results(options: argparse.Namespace) -> int:
    """Print what a run reported; the exit code."""
    from heliostat.train import Result  # noqa: PLC0415 - other commands do without

    try:
        result = Result.from_path(options.path)
    except (OSError, ValueError) as error:
        raise CommandError(f"{error}; Result.path names a run's directory") from error
    document: Row = {
        "path": result.path,
        "reports": len(result.history),
        "config": result.config,
        "error": None if result.error is None else str(result.error),
        "checkpoints": [
            {"path": checkpoint.path, "metrics": metrics}
            for checkpoint, metrics in result.best_checkpoints or ()
        ],
        "history": result.history,
    }
    if options.json:
        write_json(document)
        return 0
    sys.stdout.write(f"{result.path}: {len(result.history)} reports\n")
    if result.history:
        columns = list(dict.fromkeys(name for row in result.history for name in row))
        rows = [{"report": n, **row} for n, row in enumerate(result.history, 1)]
        sys.stdout.write(table(rows[-_MOST:], ["report", *columns], width()) + "\n")
    for kept in document["checkpoints"]:
        sys.stdout.write(f"checkpoint {kept['path']}\n")
    if document["error"]:
        sys.stdout.write(f"failed: {document['error']}\n")
    return 0
