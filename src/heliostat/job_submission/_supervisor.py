"""The process that looks after one job: starts it, waits for it, stops it, writes down how it ended.

`python -m heliostat.job_submission._supervisor FOLDER` returns when the job has begun; what goes on
is a process of its own session that outlives whoever submitted the job, and ends with the job.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from heliostat.job_submission._records import Job, JobErrorType, JobStatus

STOP_S = 3.0  # from the polite signal to the other one
_TAIL_BYTES = 20_000
_WAKES = {signal.SIGTERM, signal.SIGCHLD}
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def main(path: str) -> None:
    """Begin the job in this folder."""
    job = Job(Path(path))
    if job.lock() is None:
        raise SystemExit("somebody looks after this job already")
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAKES)
    began, begin = os.pipe()
    if os.fork():
        os.close(begin)
        os.read(began, 1)
        os._exit(0)
    os.close(began)
    os.setsid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what the shell leaves behind becomes our child
    _look_after(job, begin)


def _look_after(job: Job, begin: int) -> NoReturn:
    try:
        process = _start(job)
    except OSError as error:
        message = f"The job could not be started: {error}"
        job.end(
            JobStatus.FAILED, message, error_type=JobErrorType.JOB_ENTRYPOINT_COMMAND_START_ERROR
        )
        os._exit(1)
    job.write(status=JobStatus.RUNNING.value, pid=process.pid, supervisor=os.getpid())
    os.close(begin)
    stopped = _wait(process)
    if stopped:
        _wait_for_others()
    with contextlib.suppress(ProcessLookupError):  # what it has left behind
        os.killpg(process.pid, signal.SIGKILL)
    code = process.returncode
    if stopped:
        job.end(JobStatus.STOPPED, "Job was intentionally stopped.", driver_exit_code=code)
    elif code == 0:
        job.end(JobStatus.SUCCEEDED, "Job finished successfully.", driver_exit_code=0)
    else:
        job.end(
            JobStatus.FAILED,
            f"Job entrypoint command failed with exit code {code}, last available logs "
            f"(truncated to {_TAIL_BYTES:,} chars):\n{_tail(job.log)}",
            error_type=JobErrorType.JOB_ENTRYPOINT_COMMAND_ERROR,
            driver_exit_code=code,
        )
    os._exit(0)


def _start(job: Job) -> subprocess.Popen[bytes]:
    record = job.read()
    runtime_env: dict[str, Any] = record["runtime_env"] or {}
    with open(job.log, "ab") as log, open(os.devnull, "rb") as nothing:
        for descriptor in (0, 1, 2):  # whoever submitted the job may go
            os.dup2(nothing.fileno() if descriptor == 0 else log.fileno(), descriptor)
        return subprocess.Popen(
            ["/bin/sh", "-c", record["entrypoint"]],
            stdin=nothing,
            stdout=log,
            stderr=log,
            cwd=runtime_env.get("working_dir"),
            env=_environment(record["submission_id"], runtime_env),
            process_group=0,
            preexec_fn=_in_child,
        )


def _in_child() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAKES)


def _environment(submission_id: str, runtime_env: dict[str, Any]) -> dict[str, str]:
    """As of whoever submitted it; `import ray` and `python` mean ours."""
    paths = [
        str(Path(__file__).parent / "_path"),
        *runtime_env.get("py_modules", ()),
        str(Path(__file__).parents[2]),
        *filter(None, [os.environ.get("PYTHONPATH")]),
    ]
    environ = {
        "PYTHONUNBUFFERED": "1",  # so that its log can be followed
        **os.environ,
        **runtime_env.get("env_vars", {}),
        "PYTHONPATH": os.pathsep.join(paths),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "HELIOSTAT_ALIAS_RAY": "1",
        "HELIOSTAT_JOB_ID": submission_id,
    }
    environ.pop("HELIOSTAT_WORKER", None)  # a task may submit jobs
    return environ


def _wait(process: subprocess.Popen[bytes]) -> bool:
    """Until it has ended; whether somebody stopped it."""
    stopped, patience_s = False, None
    while process.poll() is None:
        if patience_s is None:
            number = signal.sigwaitinfo(_WAKES).si_signo
        else:
            found = signal.sigtimedwait(_WAKES, patience_s)
            number = signal.SIGKILL if found is None else found.si_signo
        if number == signal.SIGTERM and not stopped:
            stopped, patience_s = True, STOP_S
            os.killpg(process.pid, signal.SIGTERM)
        elif number == signal.SIGKILL:
            os.killpg(process.pid, signal.SIGKILL)
    return stopped


def _wait_for_others() -> None:
    """The shell has gone at the polite signal; its children may need a moment."""
    end = time.monotonic() + STOP_S
    while time.monotonic() < end:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        signal.sigtimedwait({signal.SIGCHLD}, max(0.0, end - time.monotonic()))


def _tail(path: Path) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace")


if __name__ == "__main__":
    main(sys.argv[1])
