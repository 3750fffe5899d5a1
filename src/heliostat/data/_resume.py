"""Writes that go on where a killed run stopped: some of the parts that are read at a time.

A directory of its own keeps the files of groups of parts that are finished. A run with the same
parts leaves those out; when all are there, the files become the target's in one step.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import fs

from heliostat.data._commit import CANNOT, SaveMode, Staging, files_below
from heliostat.data._expr import Expr
from heliostat.data._optimize import counts_rows
from heliostat.data._plan import (
    ROW_FOR_ROW,
    UDF_STEPS,
    Apply,
    Plan,
    Read,
    Where,
    schema_of,
    step_name,
)
from heliostat.data._write import WriteOptions, begun, run_write
from heliostat.data.arrays import no_rows
from heliostat.data.datasource.datasink import FileDatasink, TaskContext, WriteResult
from heliostat.data.datasource.source import Part

__all__ = ["resumable_write"]

# A part is what one task reads; small enough that little is lost, large enough to pay.
PART_BYTES = 64 << 20
# To begin costs something, such as a model that actors load: a group that took less than this is
# followed by one of twice as many parts.
PACE_S = 30.0
_GROUP = re.compile(r"(\d{6,})-(\d{6,})")  # its first part, and the one after its last
_STATE = "checkpoint.json"
# What says of a sink how its files are written.
_OF_FILES = ("file_format", "_column", "_partition_cols", "_arguments")
_BEGUN = f"{_STATE}.new"


@dataclass(frozen=True)
class SomeParts:
    """A source of some of the parts of another."""

    source: Any
    parts: tuple[Part, ...]

    @property
    def schema(self) -> pa.Schema | None:
        """That of the whole."""
        schema: pa.Schema | None = self.source.schema
        return schema

    @property
    def rows(self) -> int | None:
        """As the parts say."""
        rows = [part.rows for part in self.parts]
        return sum(rows) if all(rows) else None

    @property
    def reads_in_driver(self) -> bool:
        """As the whole."""
        return bool(self.source.reads_in_driver)

    def describe(self) -> str:
        """As the whole."""
        return str(self.source.describe())

    def read_tasks(self, target_bytes: int) -> list[Part]:
        """The parts."""
        return list(self.parts)

    def select(self, columns: tuple[str, ...]) -> None:
        """Parts are cut with their columns."""

    def head(self, rows: int) -> None:
        """Parts are read whole."""

    def input_files(self) -> list[str]:
        """Those of the whole."""
        return list(self.source.input_files())


def resumable_write(
    plan: Plan, sink: FileDatasink, options: WriteOptions, checkpoint: str, bundles: Any
) -> None:
    """Write some parts at a time; those that an earlier run has finished are left out.

    Args:
        plan: A read, with steps above it that take each row by itself.
        sink: Where to, on this machine.
        options: How each group is written.
        checkpoint: A directory of its own, of this machine; it outlives the run, and goes when
            all is done.
        bundles: Runs a plan.

    Raises:
        ValueError: if the plan is of another kind, or the checkpoint is somebody else's directory.
    """
    read, steps = _split(plan)
    if not sink.is_local:
        raise ValueError("checkpoint=... needs a target on this machine; copy it there afterwards")
    _check_sizes(options)
    checkpoint = _place(checkpoint, sink.path)
    parts = list(read.source.read_tasks(PART_BYTES))
    names = [f"{number:06d}-{_digest(part)}" for number, part in enumerate(parts)]
    told = {
        "target": sink.path,
        "format": _said([type(sink).__name__, *(getattr(sink, one, None) for one in _OF_FILES)]),
        "parts": names,
        "files": _times(read.source),
        # Functions by their names: one that failed and was mended goes on.
        "steps": [step_name(one) if isinstance(one, UDF_STEPS) else _said(one) for one in steps],
    }
    if not begun(sink, options, checkpoint=checkpoint):
        _end(checkpoint)
        return
    final, sink._staging = sink._staging, None
    assert final is not None
    try:
        token = _open(checkpoint, told)
        known: dict[str, str] = {}
        first, size = 0, 1
        while first < len(parts):
            done = _done(checkpoint)
            if first in done:
                _check_names(checkpoint, f"{first:06d}-{done[first]:06d}", known)
                first = done[first]
                continue
            end = min([first + size, len(parts), *(start for start in done if start > first)])
            whole: Plan = Read(SomeParts(read.source, tuple(parts[first:end])), read.place)
            for step in steps:
                whole = Apply(whole, step)
            sink.write_uuid = f"{token}_{first:06d}"
            group, began = f"{first:06d}-{end:06d}", time.monotonic()
            _write_group(whole, sink, options, os.path.join(checkpoint, group), bundles)
            if time.monotonic() - began < PACE_S:
                size *= 2
        _gather(checkpoint, sink, final.directory, schema_of(plan))
        final.commit()
    finally:
        final.abort()
    _end(checkpoint)


def _gather(checkpoint: str, sink: FileDatasink, directory: str, schema: pa.Schema | None) -> None:
    """All files of all groups; one that tells the columns, if there are none."""
    for group in filter(_GROUP.fullmatch, os.listdir(checkpoint)):
        files = os.path.join(checkpoint, group)
        shutil.copytree(files, directory, copy_function=_link, dirs_exist_ok=True)
    if sink.tells_columns and schema is not None and not files_below(directory):
        sink.directory = directory
        sink.write(iter([no_rows(schema)]), TaskContext(0, sink.get_name()))


def _check_sizes(options: WriteOptions) -> None:
    least = {"min_rows_per_file": options.min_rows, "min_bytes_per_file": options.min_bytes}
    for name, value in least.items():
        if value is not None:
            raise ValueError(
                f"{name}={value} would join rows of several parts, which a checkpoint keeps in "
                "files of their own: leave one of the two out"
            )


def _place(checkpoint: str, target: str) -> str:
    """The directory of a checkpoint, which is its own: what is in it is removed at the end."""
    here = checkpoint.removeprefix("file://")
    if not here or "://" in here:
        raise ValueError(
            f"checkpoint={checkpoint!r} must be a directory of its own, of this machine"
        )
    path, target = os.path.realpath(here), os.path.realpath(target)
    if os.path.commonpath((path, target)) in (path, target):
        raise ValueError(
            f"checkpoint={checkpoint!r} and the target {target!r}: neither may be inside the other"
        )
    with contextlib.suppress(FileNotFoundError):
        there = os.listdir(path)
        if there and _STATE not in there and there != [_BEGUN]:
            raise ValueError(
                f"checkpoint={checkpoint!r} has other files in it ({min(there)!r}): give a directory "
                "of its own, which is removed when all is written"
            )
    return path


def _split(plan: Plan) -> tuple[Read, list[Any]]:
    steps: list[Any] = []
    while isinstance(plan, Apply):
        by_itself = isinstance(plan.step, (*UDF_STEPS, *ROW_FOR_ROW, Where))
        if not by_itself or counts_rows(plan.step):
            raise ValueError(
                f"checkpoint=... cannot continue {step_name(plan.step)}, which needs all rows; "
                "it is for a read followed by map, map_batches, flat_map, filter and columns"
            )
        steps.insert(0, plan.step)
        plan = plan.input
    if not isinstance(plan, Read):
        raise ValueError(
            f"checkpoint=... needs a dataset that reads from a source, not {type(plan).__name__}"
        )
    return plan, steps


def _digest(part: Part) -> str:
    """What tells a part from others: what it reads, and of files their size."""
    return hashlib.blake2b(_said(part).encode(), digest_size=8).hexdigest()


def _times(source: Any) -> str:
    """What tells the files of this machine from others of the same names and sizes: when they were written."""
    if not isinstance(getattr(source, "filesystem", None), fs.LocalFileSystem):
        return ""
    times = [os.stat(path).st_mtime_ns for path in source.input_files()]
    return hashlib.blake2b(_said(times).encode(), digest_size=8).hexdigest()


def _check_names(checkpoint: str, group: str, known: dict[str, str]) -> None:
    """Refuse names of files that another group has: one would take the other's place."""
    for name in files_below(os.path.join(checkpoint, group)):
        if known.setdefault(name, group) != group:
            raise ValueError(
                f"the filename_provider gave the name {name!r} to two files; use write_uuid in "
                f"names, remove the checkpoint {checkpoint!r} and start again"
            )


def _said(value: Any) -> str:
    """A value as text that is the same in every process; of what has no such text, its class."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # What is not compared has only turned out, and says nothing of what it reads.
        names = [one.name for one in dataclasses.fields(value) if one.compare]
        fields = [f"{name}={_said(getattr(value, name))}" for name in names]
        return f"{type(value).__name__}({','.join(fields)})"
    if isinstance(value, Expr):
        return repr(value)
    if isinstance(value, dict):
        value = sorted(value.items())
    if isinstance(value, tuple | list):
        return f"[{','.join(map(_said, value))}]"
    if value is None or isinstance(value, str | int | float | bytes | pa.Schema):
        return str(value)
    return type(value).__name__


def _open(checkpoint: str, told: Mapping[str, Any]) -> str:
    """How names of its files begin; begins one if there is none."""
    path = os.path.join(checkpoint, _STATE)
    os.makedirs(checkpoint, exist_ok=True)
    try:
        with open(path) as file:
            before = json.load(file)
    except FileNotFoundError:
        # Of this write alone, so that the next one from here replaces no file of it; and the same
        # whenever it goes on, so that what was committed already is replaced.
        token = uuid.uuid4().hex[:12]
        begun_path = os.path.join(checkpoint, _BEGUN)
        with open(begun_path, "w") as file:
            json.dump({**told, "token": token}, file)
        os.replace(begun_path, path)
        return token
    for name, value in told.items():
        if before.get(name) != value:
            raise ValueError(
                f"the checkpoint {checkpoint!r} was begun with other {name}; give another "
                "directory, or remove it to start again"
            )
    kept: str = before["token"]
    return kept


def _done(checkpoint: str) -> dict[int, int]:
    """Where groups of parts that are done begin and end."""
    found = filter(None, map(_GROUP.fullmatch, os.listdir(checkpoint)))
    return {int(group[1]): int(group[2]) for group in found}


def _end(checkpoint: str) -> None:
    """Remove what is ours; its state last, without which the rest would be anybody's."""
    state = os.path.join(checkpoint, _STATE)
    if not os.path.isfile(state):
        return
    for name in os.listdir(checkpoint):
        if _GROUP.match(name.removeprefix(".")):  # also what a killed run had begun
            shutil.rmtree(os.path.join(checkpoint, name))
    os.unlink(state)
    with contextlib.suppress(OSError):  # somebody has put something there, or mounted it
        os.rmdir(checkpoint)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in CANNOT:
            raise
        shutil.copyfile(source, target)


def _write_group(
    plan: Plan, sink: FileDatasink, options: WriteOptions, directory: str, bundles: Any
) -> None:
    """The files of some parts, in a directory that appears when all of them are complete."""
    staging = Staging(directory, SaveMode.OVERWRITE)
    sink.directory = staging.begin()
    try:
        run_write(bundles(plan), None, _Within(sink), options)
        staging.commit()
    finally:
        staging.abort()


class _Within(FileDatasink):
    """A sink whose files are committed by somebody else."""

    def __init__(self, sink: FileDatasink) -> None:
        self.__dict__.update(sink.__dict__)
        self._sink = sink
        self.in_driver = sink.in_driver

    def begin(self) -> bool:
        """The directory is there."""
        return True

    def write(self, blocks: Iterator[pa.Table], ctx: Any) -> list[str]:  # type: ignore[override]  # an iterator is what comes
        """As the sink does it."""
        written: list[str] = self._sink.write(blocks, ctx)
        return written

    def on_write_complete(self, write_result: WriteResult[list[str]]) -> None:
        """Nothing to do."""

    def on_write_failed(self, error: Exception) -> None:
        """Nothing to do."""
