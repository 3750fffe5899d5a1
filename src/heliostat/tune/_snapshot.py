"""What is on disk of a study: one append-only log with one writer, and the files of each trial.

The log is JSON lines; a line that was cut off by a kill is the last one and is ignored. It grows by a
constant for each thing that happens, however many trials there are. A trial's own files (`params.json`,
`result.json`, `progress.csv`, checkpoints) are written by the process that runs it. Nothing here knows why.
"""

import base64
import csv
import fcntl
import io
import json
import math
import os
import pickle
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # ships no annotations

from heliostat.train import Checkpoint
from heliostat.train._storage import cut_torn_line
from heliostat.train._written import PROGRESS, RESULTS, reports_in
from heliostat.tune._beyond import Beyond
from heliostat.tune._messages import Policy
from heliostat.tune._metrics import flatten

LOG_PREFIX = "experiment-"
TUNER_FILE = "tuner.pkl"
CALLBACKS_FILE = "callback_states.pkl"
_PICKLED = "__pickle__"


class Log:
    """The writer of a study's log. Lines are on their way to the disk after `flush`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Its only writer: a second one is told so at once.
        self._file = open(path, "a+b", 1 << 20)  # noqa: SIM115 - open as long as the study runs
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise RuntimeError(
                f"another process is running the study of {path}; wait for it or end it"
            ) from None
        if self._file.tell():  # it goes on with one whose writer may have been killed within a line
            cut_torn_line(self._file.fileno())

    def append(self, kind: str, **fields: Any) -> None:
        """Add a record."""
        self._file.write(json.dumps({"kind": kind, **fields}).encode() + b"\n")

    def flush(self) -> None:
        """Hand all records to the operating system: they outlive this process from here."""
        try:
            self._file.flush()
        except OSError as error:
            how = f"make room, then go on with Tuner.restore({str(self.path.parent)!r}, trainable)"
            raise type(error)(error.errno, f"{error.strerror}; {how}", str(self.path)) from error

    def close(self) -> None:
        """No more records; what `flush` could not write is not written."""
        with suppress(OSError):
            self._file.close()


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a log, oldest first; what a kill cut off is left out."""
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue  # cut off by a kill, and ended by a later writer


def newest_log(directory: Path) -> Path | None:
    """The log of the last study that ran in a directory."""
    logs = sorted(directory.glob(f"{LOG_PREFIX}*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return logs[-1] if logs else None


def encode(value: Any) -> Any:
    """A value as JSON can hold it without loss; what JSON cannot hold is pickled."""
    if _is_plain(value):
        return value
    return {_PICKLED: base64.b64encode(cloudpickle.dumps(value)).decode()}


def decode(value: Any) -> Any:
    """The inverse of `encode`. Only for a study's own log: it may run code."""
    if isinstance(value, dict) and value.keys() == {_PICKLED}:
        return pickle.loads(base64.b64decode(value[_PICKLED]))
    return value


class TrialFiles:
    """The files of one trial, as the process that runs it sees them."""

    def __init__(self, path: str, beyond: Beyond | None = None) -> None:
        self._path = path
        self._beyond = beyond
        self._lines: list[str] = []
        self._rows = io.StringIO()
        self._table = csv.writer(self._rows)
        self._columns: list[str] = []  # those of the trial's first report
        self._stage: str | None = None  # the last directory that a checkpoint was made in

    def begin(self, config: dict[str, Any]) -> None:
        """Make the directory and write the configuration."""
        try:
            os.makedirs(self._path)
        except FileExistsError:
            for left in Path(self._path).glob("*.stage-*"):  # of an attempt that was killed
                shutil.rmtree(left, ignore_errors=True)
        self._add("params.json", readable(config), os.O_TRUNC)
        try:
            for name in (RESULTS, PROGRESS):
                with open(os.path.join(self._path, name), "r+b") as begun:
                    cut_torn_line(begun.fileno())  # what a kill in it has left
            with open(os.path.join(self._path, PROGRESS), newline="", encoding="utf-8") as file:
                self._columns = next(csv.reader(file), [])
        except FileNotFoundError:
            pass  # no attempt before has reported

    def append(self, result: Mapping[str, Any]) -> None:
        """Add a line to `result.json` and a row to `progress.csv`, with the next `write`."""
        self._lines.append(readable(result) + "\n")
        row = flatten({key: value for key, value in result.items() if key != "config"})
        if not self._columns:
            self._columns = list(row)
            self._table.writerow(self._columns)
        self._table.writerow([row.get(name) for name in self._columns])

    def write(self) -> None:
        """Put what was appended where it outlives this process."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._add(RESULTS, "".join(lines), os.O_APPEND)
            rows = self._rows.getvalue()
            self._rows.seek(0)
            self._rows.truncate()
            self._add(PROGRESS, rows, os.O_APPEND)

    def _add(self, name: str, text: str, how: int) -> None:
        # No file objects: most trials write one line, and there may be a hundred thousand.
        file = os.open(os.path.join(self._path, name), os.O_WRONLY | os.O_CREAT | how, 0o666)
        try:
            data = text.encode(errors="backslashreplace")  # half a surrogate pair is no text
            while data:
                data = data[os.write(file, data) :]
        finally:
            os.close(file)

    def stage(self, name: str) -> str:
        """An empty directory to make a checkpoint in that `keep` takes over as it is."""
        stage = self._begin_stage(name)
        os.mkdir(stage)
        return stage

    def _begin_stage(self, name: str) -> str:
        self._stage = stage = os.path.join(self._path, f"{name}.stage-{os.getpid()}")
        shutil.rmtree(stage, ignore_errors=True)
        return stage

    def end(self) -> None:
        """Remove what did not become a checkpoint."""
        if self._stage is not None:
            shutil.rmtree(self._stage, ignore_errors=True)

    def keep(self, checkpoint: Checkpoint, name: str) -> str:
        """Copy a checkpoint into the directory: complete or not at all.

        A checkpoint that is there already, such as a trainer's, stays where it is.
        """
        if self._beyond is not None:
            return self._beyond.keep(checkpoint, os.path.join(self._path, name))
        if checkpoint.path != self._stage:
            if Path(checkpoint.path).is_relative_to(self._path):
                return checkpoint.path
            checkpoint.to_directory(self._begin_stage(name))
        target, stage = os.path.join(self._path, name), self._stage
        assert stage is not None
        # An attempt that was killed between this and its report leaves one of the same name.
        shutil.rmtree(target, ignore_errors=True)
        os.rename(stage, target)
        return target


def write_policy(directory: Path, policy: Policy) -> None:
    """Add a line to the policies of a population; a trial's own begins with that of its donor."""
    line = readable(policy.line) + "\n"
    with (directory / "pbt_global.txt").open("a", encoding="utf-8") as file:
        file.write(line)
    own = directory / f"pbt_policy_{policy.target}.txt"
    donors = directory / f"pbt_policy_{policy.donor}.txt"
    story = donors.read_text("utf-8") if donors.exists() else ""
    write_whole(own, (story + line).encode())


def read_results(path: str) -> list[dict[str, Any]]:
    """All reports of a trial, oldest first; without those that a kill cut off."""
    try:
        return list(reports_in(Path(path, RESULTS).read_bytes()))
    except FileNotFoundError:
        return []


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there complete or not at all."""
    stage = path.with_name(f"{path.name}.stage-{os.getpid()}")
    stage.write_bytes(data)
    stage.replace(path)


def readable(value: Any) -> str:
    """A value as JSON for people and tools; what JSON does not know becomes a number or text."""
    try:
        return json.dumps(value, default=_to_json)
    except (TypeError, ValueError):  # keys that are no strings, circles
        return json.dumps(_stringify(value), default=str)


def _to_json(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy scalars and arrays, tensors
        return value.tolist()
    return str(value)


def _stringify(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _stringify(item) for key, item in value.items()}
    return value if isinstance(value, int | float | str | None) else str(value)


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        return _PICKLED not in value and all(
            type(key) is str and _is_plain(item) for key, item in value.items()
        )
    if kind is list:
        return all(map(_is_plain, value))
    return value is None or kind in (str, int, bool)
