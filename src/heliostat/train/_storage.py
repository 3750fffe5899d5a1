"""A run's directory: staged checkpoints, committed ones, and the log.

    <storage_path>/<run name>/
        run.jsonl              the log: one line for each thing that happened, only ever appended
        checkpoint_000000/     committed: complete, on disk, and in the log
        .stage-.../rank-1/     what a rank has copied so far; swept when its attempt is over

A rank copies its files into a stage; the controller then moves all ranks' files together and
renames the result into place, and only after that writes the log. Whatever process dies when: a
checkpoint is there in full or not at all. A thread flushes it to the disk afterwards and says so in
the log: when the machine goes down, what was not flushed by then does not count. This file does
not decide what is kept. A directory beyond this machine is a RemoteDirectory (`_remote.py`).
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from heliostat._boot import boot_id
from heliostat._shared_directory import check_shared
from heliostat.train._run_messages import Kept, Validation
from heliostat.train._sender import Sender
from heliostat.train.checkpoint import Checkpoint, locate
from heliostat.train.config import writing_to

LOG = "run.jsonl"
STAGE_PREFIX = ".stage-"
_log = logging.getLogger("heliostat.train")

NUMBERED = re.compile(r"checkpoint_(\d{6,})")


class RunStorage(Protocol):
    """The directory of one run, here or on a file system beyond this machine."""

    where: str
    filesystem: Any
    in_place: bool  # whether ranks store files where they stay, and so must know under which name

    @property
    def name(self) -> str:
        """The run's."""
        ...

    @property
    def boot(self) -> str:
        """What tells this start of the machine from others, if that matters to what is stored."""
        ...

    def entries(self) -> list[dict[str, Any]]:
        """What the log tells of the last run here."""
        ...

    def checkpoint(self, name: str) -> Checkpoint:
        """The checkpoint of this name, or at this absolute path."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is anything of this name."""
        ...

    def taken(self, name: str) -> bool:
        """Whether a new checkpoint cannot have this name."""
        ...

    def store(self, source: Path, attempt: int, number: int, rank: int, name: str) -> str | None:
        """Copy what a rank saved with its report of this number; returns its name if it stays."""
        ...

    def keep(self, attempt: int, number: int, name: str) -> None:
        """Make what the ranks have staged with this report a checkpoint."""
        ...

    def delete(self, name: str) -> None:
        """Remove a checkpoint."""
        ...

    def sweep(self) -> None:
        """Remove what is no checkpoint yet; only when no rank is writing."""
        ...

    def next_number(self) -> int:
        """One more than the highest number of any checkpoint here."""
        ...

    def append(self, kind: str, *, flush: bool = True, **fields: Any) -> None:
        """Add one line to the log."""
        ...

    def close(self) -> None:
        """End what writes."""
        ...


def open_run(
    storage_path: str | os.PathLike[str] | None,
    filesystem: Any,
    name: str | None,
    prefix: str,
    nodes: Sequence[Mapping[str, Any]] = (),
) -> RunStorage:
    """Make a run's directory, or find the one of an earlier run of this name.

    Raises:
        OSError: If it cannot be made or written to; the path is named.
        ValueError: If it is on this machine alone, and `nodes` are several machines.
    """
    root, remote = os.fspath(storage_path or "~/ray_results"), None
    if filesystem is not None or "://" in root:
        root, remote = locate("storage_path", root, filesystem)
    if remote is None:
        if len(nodes) > 1:  # one machine shares with nobody
            check_shared("storage_path", os.path.abspath(os.path.expanduser(root)), nodes)
        return RunDirectory.open(root, name, prefix)
    from heliostat.train._remote import RemoteDirectory  # noqa: PLC0415 - pyarrow is slow to load

    return RemoteDirectory.open(root, remote, name, prefix)


def of_rank(where: str, filesystem: Any) -> RunStorage:
    """A run's directory as a rank sees it, which opens nothing."""
    if filesystem is None:
        return RunDirectory(Path(where))
    from heliostat.train._remote import RemoteDirectory  # noqa: PLC0415 - pyarrow is slow to load

    return RemoteDirectory(where, filesystem)


class RunDirectory:
    """The directory of one run on this machine."""

    filesystem = None
    in_place = False

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self.path = path
        self._log_fd: int | None = None
        self._flusher: Sender | None = None  # made for the first checkpoint

    @classmethod
    def open(
        cls, storage_path: str | os.PathLike[str], name: str | None, prefix: str
    ) -> RunDirectory:
        """Make the directory, or find the one of an earlier run of this name.

        Raises:
            OSError: If it cannot be made or written to; the path is named.
        """
        root = Path(os.path.abspath(os.path.expanduser(storage_path)))
        with writing_to(storage_path):
            root.mkdir(parents=True, exist_ok=True)
            path = _unused_directory(root, prefix) if name is None else root / name
            path.mkdir(exist_ok=True)
            run = cls(path)
            run._log_fd = os.open(path / LOG, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            _lock(run._log_fd, path)
            cut_torn_line(run._log_fd)
        run.sweep()
        return run

    @property
    def name(self) -> str:
        """The run's."""
        return self.path.name

    @property
    def boot(self) -> str:
        """What tells this start of the machine from others."""
        return boot_id()

    def entries(self) -> list[dict[str, Any]]:
        """What the log tells of the last run here; nothing in a new directory."""
        return read_log(self.path)

    def checkpoint(self, name: str) -> Checkpoint:
        """The checkpoint of this name, or at this absolute path."""
        return Checkpoint(self.path / name)

    def has(self, name: str) -> bool:
        """Whether there is anything of this name."""
        return (self.path / name).exists()

    def taken(self, name: str) -> bool:
        """Whether there is a checkpoint of this name."""
        return self.has(name)

    def store(self, source: Path, attempt: int, number: int, rank: int, name: str) -> None:
        """Copy a rank's files into the stage. Runs in the rank's process."""
        copy_to_stage(source, self.stage(attempt, number), rank)

    def keep(self, attempt: int, number: int, name: str) -> None:
        """Make what the ranks have staged with this report a checkpoint."""
        self.commit(self.stage(attempt, number), name)

    def stage(self, attempt: int, number: int) -> Path:
        """Where the ranks put what they save with their report of this number."""
        return self.path / f"{STAGE_PREFIX}{attempt}-{number}"

    def commit(self, stage: Path, name: str) -> Path:
        """Make what is staged a checkpoint.

        Two ranks' files of the same name are expected to be the same; the lowest rank's stays.

        Raises:
            FileExistsError: If there is a checkpoint of this name.
        """
        target = self.path / name
        if target.exists():
            raise FileExistsError(f"a checkpoint named {name!r} is in {self.path} already")
        whole = stage / "whole"
        whole.mkdir()
        for rank in sorted(stage.glob("rank-*"), key=lambda p: int(p.name.removeprefix("rank-"))):
            _move_into(rank, whole)
        os.rename(whole, target)
        shutil.rmtree(stage, ignore_errors=True)
        if self._flusher is None:
            self._flusher = Sender("train-flush")
        self._flusher.submit(lambda: self._flush_all(name))
        return target

    def _flush_all(self, name: str) -> None:
        try:
            for directory, _, files in os.walk(self.path / name):
                for path in (*files, "."):
                    _flush(os.path.join(directory, path))
            _flush(self.path)
            self.append("flushed", checkpoint=name)
        except FileNotFoundError:
            pass  # it was surplus
        except OSError as error:
            _log.warning(
                "checkpoint %s may not outlive the machine, its disk says: %s", name, error
            )

    def delete(self, name: str) -> None:
        """Remove a checkpoint. It is out of sight at once, even if removing is cut short."""
        if os.path.isabs(name):  # one that stayed where it was
            shutil.rmtree(name, ignore_errors=True)
            return
        doomed = self.path / f"{STAGE_PREFIX}deleted-{name}"
        os.rename(self.path / name, doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def sweep(self) -> None:
        """Remove every stage; only when no rank is writing."""
        for stage in self.path.glob(f"{STAGE_PREFIX}*"):
            shutil.rmtree(stage, ignore_errors=True)

    def next_number(self) -> int:
        """One more than the highest number of any checkpoint here."""
        found = (NUMBERED.fullmatch(entry) for entry in os.listdir(self.path))
        return max((int(m[1]) + 1 for m in found if m), default=0)

    def append(self, kind: str, *, flush: bool = True, **fields: Any) -> None:
        """Add one line to the log.

        It survives the death of this process in any case, and that of the machine if `flush`.
        """
        assert self._log_fd is not None
        os.write(self._log_fd, log_line(kind, fields))
        if flush:
            os.fsync(self._log_fd)

    def close(self) -> None:
        """Close the log, when every checkpoint is on the disk."""
        if self._flusher is not None:
            self._flusher.drain()
            self._flusher.close()
        if self._log_fd is not None:
            os.close(self._log_fd)
            self._log_fd = None


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of the last run that began in this directory, oldest first.

    A last line that was cut short by a crash does not count.

    Raises:
        FileNotFoundError: If there is no log.
        ValueError: If a line is none of ours; the file and the line are named.
    """
    with open(path / LOG, encoding="utf-8", errors="replace") as lines:
        return parse_log(lines, path / LOG)


def parse_log(lines: Iterable[str], where: object) -> list[dict[str, Any]]:
    """The entries of the last run that these lines tell of.

    Raises:
        ValueError: If a line is none of ours; the file and the line are named.
    """
    entries: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            break
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise ValueError(
                f"{where}, line {number} cannot be read ({error}); use another run name, "
                "or mend the line"
            ) from error
        if entry["kind"] == "begin":
            entries = []
        entries.append(entry)
    return entries


def log_line(kind: str, fields: Mapping[str, Any]) -> bytes:
    """A line of the log."""
    entry = {"kind": kind, "time": time.time(), **fields}
    try:
        line = json.dumps(entry, default=_plain)
    except TypeError:  # a key that JSON has no word for, such as a tuple
        line = json.dumps(_with_text_keys(entry), default=_plain)
    return f"{line}\n".encode()


def read_log_of(where: str, filesystem: Any) -> list[dict[str, Any]]:
    """The same of a directory that may be beyond this machine.

    Raises:
        FileNotFoundError: If no run has written there.
        ValueError: If a line is none of ours.
    """
    try:
        if filesystem is None:
            return read_log(Path(where))
        from heliostat.train import _remote  # noqa: PLC0415 - pyarrow is slow to load

        path = f"{where}/{LOG}"
        text = _remote.read(path, filesystem).decode()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no run has written to {where} (there is no {LOG})") from error
    return parse_log(text.splitlines(keepends=True), path)


def not_flushed(entries: Iterable[Mapping[str, Any]]) -> set[str]:
    """Checkpoints that may be torn: the machine went down before they were on its disk."""
    boot, unsure = "", dict[str, str]()
    for entry in entries:
        match entry["kind"]:
            case "begin" | "resume":
                boot = entry.get("boot", "")
            case "report" if entry["checkpoint"] and not os.path.isabs(entry["checkpoint"]):
                unsure[entry["checkpoint"]] = boot
            case "flushed":
                unsure.pop(entry["checkpoint"], None)
    now = boot_id()
    return {name for name, then in unsure.items() if then not in ("", now)}


def kept_checkpoints(entries: list[dict[str, Any]]) -> list[Kept]:
    """The checkpoints that a log says are there, oldest first."""
    kept: dict[str, Kept] = {}
    for entry in entries:
        name: str = entry.get("checkpoint") or ""
        if entry["kind"] == "report" and name:
            wanted = entry.get("validation")
            kept.pop(name, None)
            kept[name] = Kept(
                name,
                entry["metrics"],
                "PENDING_VALIDATION" if wanted else "COMMITTED",
                Validation(**wanted) if wanted else None,
            )
        elif entry["kind"] == "validated" and name in kept:
            metrics = {**kept[name].metrics, **entry["metrics"]}
            kept[name] = kept[name]._replace(metrics=metrics, status=entry["status"])
        elif entry["kind"] == "delete":
            kept.pop(name, None)
    torn = not_flushed(entries)
    return [k for k in kept.values() if k.name not in torn]


def is_complete(entries: list[dict[str, Any]]) -> bool:
    """Whether a log tells of a run that came to its end."""
    ends = [entry for entry in entries if entry["kind"] in ("end", "resume")][-1:]
    return bool(ends) and ends[0]["kind"] == "end" and not ends[0]["error"]


def copy_to_stage(source: Path, stage: Path, rank: int) -> None:
    """Copy a rank's files into the stage. Runs in the rank's process."""
    target = stage / f"rank-{rank}"
    target.mkdir(parents=True)
    shutil.copytree(source, target, dirs_exist_ok=True)


def _lock(log_fd: int, path: Path) -> None:
    try:
        fcntl.flock(log_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(log_fd)
        raise RuntimeError(
            f"a run is writing to {path} already; give this one another RunConfig(name=...)"
        ) from None


def cut_torn_line(log_fd: int) -> None:
    """Drop what a crash in the middle of a line has left, or the next line would be lost too."""
    size = there = os.fstat(log_fd).st_size
    while size and os.pread(log_fd, 1, size - 1) != b"\n":
        size -= 1
    if size < there:
        os.ftruncate(log_fd, size)


def _unused_directory(root: Path, prefix: str) -> Path:
    stem = f"{prefix}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    for n in range(1, 10_000):
        path = root / (stem if n == 1 else f"{stem}-{n}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{root} holds 10,000 runs named {stem}")


def _move_into(source: Path, target: Path) -> None:
    for entry in sorted(source.iterdir()):
        there = target / entry.name
        if not there.exists():
            entry.rename(there)
        elif entry.is_dir() and there.is_dir():
            _move_into(entry, there)


def _flush(path: str | Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _with_text_keys(v) for k, v in value.items()}
    return [_with_text_keys(v) for v in value] if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> Any:
    """What JSON has no word for: numbers of numpy as numbers, anything else as text."""
    if isinstance(value, Mapping):
        return dict(value)
    # numpy's and torch's arrays and numbers alike
    to_list = getattr(value, "tolist", None)
    return to_list() if callable(to_list) else str(value)
