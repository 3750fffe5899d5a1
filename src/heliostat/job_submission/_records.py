"""What is known of a job, and where: a folder each, which only its user can read.

`$HELIOSTAT_STATE_DIR`, or `heliostat` in `$XDG_STATE_HOME` or `~/.local/state`, holds `jobs/ID` with
`job.json` (replaced as a whole), `log` and `lock`, which the supervisor holds while it lives.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from heliostat._state_folder import state_folder

KEPT = 100  # jobs that have ended
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class JobStatus(enum.StrEnum):
    """How far a job has come.

    Example:
        >>> JobStatus("FAILED").is_terminal(), JobStatus.RUNNING.is_terminal()
        (True, False)
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    def is_terminal(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self in (JobStatus.STOPPED, JobStatus.SUCCEEDED, JobStatus.FAILED)


class JobType(enum.StrEnum):
    """How a job came to be: all that are listed here were submitted."""

    SUBMISSION = "SUBMISSION"
    DRIVER = "DRIVER"


class JobErrorType(enum.StrEnum):
    """Why a job has failed, in a word.

    Example:
        >>> JobErrorType("JOB_ENTRYPOINT_COMMAND_ERROR").name
        'JOB_ENTRYPOINT_COMMAND_ERROR'
    """

    RUNTIME_ENV_SETUP_FAILURE = "RUNTIME_ENV_SETUP_FAILURE"
    JOB_SUPERVISOR_ACTOR_START_TIMEOUT = "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"
    JOB_SUPERVISOR_ACTOR_START_FAILURE = "JOB_SUPERVISOR_ACTOR_START_FAILURE"
    JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE = "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE"
    JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE = "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE"
    JOB_SUPERVISOR_ACTOR_DIED = "JOB_SUPERVISOR_ACTOR_DIED"
    JOB_ENTRYPOINT_COMMAND_START_ERROR = "JOB_ENTRYPOINT_COMMAND_START_ERROR"
    JOB_ENTRYPOINT_COMMAND_ERROR = "JOB_ENTRYPOINT_COMMAND_ERROR"


@dataclass
class DriverInfo:
    """The process that a job runs in."""

    id: str
    node_ip_address: str
    pid: str


@dataclass
class JobInfo:
    """What a job is and how far it has come. Times are milliseconds since 1970."""

    status: JobStatus
    entrypoint: str
    message: str | None = None
    error_type: str | None = None
    start_time: int | None = None
    end_time: int | None = None
    metadata: dict[str, str] | None = field(default_factory=dict)
    runtime_env: dict[str, Any] | None = field(default_factory=dict)
    driver_exit_code: int | None = None


@dataclass
class JobDetails(JobInfo):
    """A job as `get_job_info` and `list_jobs` show it."""

    type: JobType = JobType.SUBMISSION
    job_id: str | None = None
    submission_id: str | None = None
    driver_info: DriverInfo | None = None


def folder() -> Path:
    """Where jobs are kept; made if need be, for this user only."""
    return state_folder("jobs")


def check_id(submission_id: object) -> str:
    """An identifier that can be a folder's name.

    Raises:
        ValueError: If it cannot.
    """
    if not isinstance(submission_id, str) or not _ID.fullmatch(submission_id):
        raise ValueError(
            "a submission_id has at most 128 letters, digits, '_', '-' or '.', and does not begin "
            f"with '-' or '.'; got {submission_id!r}"
        )
    return submission_id


class Job:
    """The folder of one job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log"
        self._record = path / "job.json"

    def read(self) -> dict[str, Any]:
        """What is written about it."""
        record: dict[str, Any] = json.loads(self._record.read_text())
        return record

    def write(self, **changes: Any) -> None:
        """Change some of it, all or nothing."""
        record = {**(self.read() if self._record.exists() else {}), **changes}
        new = self.path / f"job.json.{os.getpid()}"
        new.write_text(json.dumps(record))
        os.replace(new, self._record)

    def end(self, status: JobStatus, message: str, **changes: Any) -> None:
        """It has ended."""
        self.write(status=status.value, message=message, end_time=now_ms(), **changes)

    def lock(self) -> int | None:
        """The descriptor that shows that the supervisor lives; None if another one holds it."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def details(self) -> JobDetails:
        """What is known of it; a job whose supervisor is gone has failed."""
        record = self.read()
        if not JobStatus(record["status"]).is_terminal():
            descriptor = self.lock()
            if descriptor is not None:
                try:
                    record = self.read()  # it may have ended between the two looks
                    if not JobStatus(record["status"]).is_terminal():
                        kill_rest(record)
                        self.end(
                            JobStatus.FAILED,
                            "The process that looked after the job was killed, and the job with it.",
                            error_type=JobErrorType.JOB_SUPERVISOR_ACTOR_DIED,
                        )
                        record = self.read()
                finally:
                    os.close(descriptor)
        pid = record.pop("pid", None)
        record.pop("supervisor", None)
        record["status"] = JobStatus(record["status"])
        driver = None if pid is None else DriverInfo(record["submission_id"], "127.0.0.1", str(pid))
        return JobDetails(**record, driver_info=driver)

    def reader(self) -> TextIO:
        """Its log, to be read from the beginning."""
        return open(self.log, encoding="utf-8", errors="replace")

    def delete(self) -> None:
        """Forget it."""
        shutil.rmtree(self.path)


def kill_rest(record: dict[str, Any]) -> None:
    """End what is left of a job's process group, if it is still the job's."""
    pid = record.get("pid")
    if pid is None:
        return
    mark = f"HELIOSTAT_JOB_ID={record['submission_id']}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                ours = mark in (entry / "environ").read_bytes().split(b"\0")
                if ours and os.getpgid(int(entry.name)) == pid:
                    os.killpg(pid, 9)
                    return


def jobs() -> Iterator[Job]:
    """All jobs, the oldest first."""
    found = []
    for path in folder().iterdir():
        with contextlib.suppress(OSError, ValueError):  # being made or deleted right now
            found.append((Job(path).read()["start_time"], path.name, Job(path)))
    return (job for _, _, job in sorted(found, key=lambda entry: entry[:2]))


def prune() -> None:
    """Forget the oldest of those that have ended."""
    ended = [job for job in jobs() if job.details().status.is_terminal()]
    for job in ended[: max(0, len(ended) - KEPT)]:
        job.delete()


def now_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)
