"""JobSubmissionClient: submit programs, look at them, stop them."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from heliostat._version import __version__
from heliostat.job_submission import _records
from heliostat.job_submission._records import Job, JobDetails, JobStatus

_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz123456789"
_LOOK_S = 0.1


class JobSubmissionClient:
    """Runs programs on this machine, each in processes of its own, and keeps their logs.

    No daemon and no port: a small process looks after each job and ends with it. In a job,
    `import ray` means Heliostat. What is known of jobs is in `$HELIOSTAT_STATE_DIR`, or `heliostat`
    in `$XDG_STATE_HOME` or `~/.local/state`; any process of the same user can ask.

    Args:
        address: None, "local" or "auto".
        create_cluster_if_needed: Accepted for Ray's sake: nothing has to be there.
        cookies: Only None: there is no server.
        metadata: Given to every job, below what `submit_job` is given.
        headers: Only None: there is no server.
        verify: Accepted for Ray's sake: there is no server.

    Raises:
        NotImplementedError: For the address of a Ray cluster.

    Example:
        >>> from heliostat.job_submission import JobSubmissionClient
        >>> JobSubmissionClient().get_address()
        'local'
    """

    def __init__(
        self,
        address: str | None = None,
        create_cluster_if_needed: bool = False,
        cookies: dict[str, Any] | None = None,
        metadata: dict[str, str] | None = None,
        headers: dict[str, Any] | None = None,
        verify: str | bool | None = True,
    ) -> None:
        del create_cluster_if_needed, verify
        if address not in (None, "local", "auto"):
            raise NotImplementedError(
                f"address={address!r} is that of a Ray cluster; jobs run on this machine only: "
                'leave it out, or say "local"'
            )
        for name, value in (("cookies", cookies), ("headers", headers)):
            if value is not None:
                raise NotImplementedError(f"{name}={value!r}: there is no server; leave it out")
        self._metadata = _texts("metadata", metadata)

    def get_address(self) -> str:
        """Always "local"."""
        return "local"

    def get_version(self) -> str:
        """Heliostat's version."""
        return __version__

    def submit_job(
        self,
        *,
        entrypoint: str,
        job_id: str | None = None,
        runtime_env: dict[str, Any] | None = None,
        metadata: dict[str, str] | None = None,
        submission_id: str | None = None,
        entrypoint_num_cpus: int | float | None = None,
        entrypoint_num_gpus: int | float | None = None,
        entrypoint_memory: int | None = None,
        entrypoint_resources: dict[str, float] | None = None,
        entrypoint_label_selector: dict[str, str] | None = None,
    ) -> str:
        """Start a program; returns when it runs.

        Args:
            entrypoint: A command for the shell, such as "python train.py --epochs 3".
            job_id: Ray's old name for submission_id.
            runtime_env: `env_vars`, `working_dir` (a folder, in which the command runs) and
                `py_modules` (folders put on Python's path).
            metadata: Strings by name, kept with the job.
            submission_id: The job's name; made up when left out.
            entrypoint_num_cpus: Only None or 0. A job has a session of its own: what it may use is
                said by its own `init`.
            entrypoint_num_gpus: As entrypoint_num_cpus.
            entrypoint_memory: As entrypoint_num_cpus.
            entrypoint_resources: As entrypoint_num_cpus.
            entrypoint_label_selector: Only None: there is one machine.

        Returns:
            The submission_id.

        Raises:
            ValueError, TypeError: For what makes no sense.
            RuntimeError: If there is a job of that name, or it cannot be started.
        """
        asked = {
            "entrypoint_num_cpus": entrypoint_num_cpus,
            "entrypoint_num_gpus": entrypoint_num_gpus,
            "entrypoint_memory": entrypoint_memory,
            "entrypoint_resources": entrypoint_resources,
            "entrypoint_label_selector": entrypoint_label_selector,
        }
        for name, value in asked.items():
            if value:
                raise NotImplementedError(
                    f"{name}={value!r}: a job has a session of its own, so say in the program "
                    "what it may use, as in init(num_cpus=...); leave this out"
                )
        if not isinstance(entrypoint, str) or not entrypoint.strip():
            raise ValueError(f"entrypoint must be a command for the shell, got {entrypoint!r}")
        chosen = submission_id if submission_id is not None else job_id
        name = _records.check_id(_made_up() if chosen is None else chosen)
        environment = _runtime_env(runtime_env)
        texts = {**self._metadata, **_texts("metadata", metadata)}
        _records.prune()
        job = Job(_records.folder() / name)
        try:
            job.path.mkdir(mode=0o700)
        except FileExistsError:
            raise RuntimeError(
                f"Job with submission_id {name} already exists. Please use a different "
                "submission_id."
            ) from None
        job.log.touch(mode=0o600)
        job.write(
            submission_id=name,
            entrypoint=entrypoint,
            status=JobStatus.PENDING.value,
            start_time=_records.now_ms(),
            metadata=texts,
            runtime_env=environment,
        )
        _launch(job)
        return name

    def get_job_info(self, job_id: str) -> JobDetails:
        """What is known of a job.

        Raises:
            RuntimeError: If there is none of that name.
        """
        return self._job(job_id).details()

    def get_job_status(self, job_id: str) -> JobStatus:
        """How far a job has come; raises as `get_job_info`."""
        return self.get_job_info(job_id).status

    def list_jobs(self) -> list[JobDetails]:
        """All jobs that run, and the last 100 that have ended; the oldest first."""
        return [job.details() for job in _records.jobs()]

    def stop_job(self, job_id: str) -> bool:
        """Have a job end: SIGTERM for all its processes, SIGKILL 3 s later.

        Returns:
            True if it ran; False if it had ended already.

        Raises:
            RuntimeError: If there is none of that name.
        """
        job = self._job(job_id)
        if job.details().status.is_terminal():
            return False
        supervisor = job.read().get("supervisor")
        if supervisor is None:
            return False
        try:
            os.kill(supervisor, signal.SIGTERM)
        except ProcessLookupError:  # it has ended meanwhile
            return False
        return True

    def delete_job(self, job_id: str) -> bool:
        """Forget a job that has ended, and its log.

        Raises:
            RuntimeError: If it has not ended, or there is none of that name.
        """
        job = self._job(job_id)
        status = job.details().status
        if not status.is_terminal():
            raise RuntimeError(
                f"Attempted to delete job {job_id!r}, but it is in a non-terminal state {status}; "
                "stop_job() it first"
            )
        job.delete()
        return True

    def get_job_logs(self, job_id: str) -> str:
        """All that a job has printed so far; raises as `get_job_info`."""
        return self._job(job_id).log.read_text(errors="replace")

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        """What a job prints, as it comes, until it has ended; raises as `get_job_info`."""
        job = self._job(job_id)
        with job.reader() as log:
            while True:
                ended = job.details().status.is_terminal()
                if text := log.read():
                    yield text
                elif ended:
                    return
                else:
                    await asyncio.sleep(_LOOK_S)

    def _job(self, job_id: str) -> Job:
        job = Job(_records.folder() / _records.check_id(job_id))
        if not (job.path / "job.json").exists():
            raise RuntimeError(f"Job {job_id} does not exist: list_jobs() has those there are")
        return job


def _launch(job: Job) -> None:
    source = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    started = subprocess.run(
        [sys.executable, "-m", "heliostat.job_submission._supervisor", str(job.path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    if started.returncode:
        said = started.stderr.decode(errors="replace")
        job.end(JobStatus.FAILED, f"The job could not be started: {said}")
        raise RuntimeError(f"job {job.path.name} could not be started: {said}")


def _made_up() -> str:
    return "raysubmit_" + "".join(secrets.choice(_ALPHABET) for _ in range(16))


def _texts(what: str, value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(
        isinstance(text, str) for pair in value.items() for text in pair
    ):
        raise TypeError(f"{what} must be a dict of strings, got {value!r}")
    return dict(value)


def _runtime_env(value: Mapping[str, Any] | None) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for name, given in (value or {}).items():
        if name == "env_vars":
            parsed[name] = _texts("env_vars", given)
        elif name == "working_dir":
            parsed[name] = _directory(name, given)
        elif name == "py_modules":
            parsed[name] = [_directory(name, each) for each in given]
        else:
            raise NotImplementedError(
                f"runtime_env[{name!r}] is not offered for jobs; env_vars, working_dir and "
                "py_modules are"
            )
    return parsed


def _directory(what: str, value: object) -> str:
    path = Path(str(value)).absolute()
    if not path.is_dir():
        raise ValueError(f"{what}: {value!r} is no folder of this machine")
    return str(path)
