"""Jobs: programs in processes of their own, looked after, stopped, and remembered."""

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from heliostat.job_submission import JobStatus, JobSubmissionClient, _records
from heliostat.testing.clock import until

WAIT = 'python -c "import time; print(1, flush=True); time.sleep(1000)"'


@pytest.fixture(autouse=True)
def client(tmp_path, monkeypatch):
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path / "state"))
    client = JobSubmissionClient()
    yield client
    for job in client.list_jobs():
        client.stop_job(job.submission_id)
    until(lambda: all(job.status.is_terminal() for job in client.list_jobs()), "all have ended", 20)


def end(client, job):
    until(lambda: client.get_job_status(job).is_terminal(), "the job has ended", 60)
    return client.get_job_info(job)


def test_a_program_that_imports_ray_runs_on_heliostat(client, tmp_path):
    (tmp_path / "program.py").write_text(
        "import ray, sys\n"
        "import ray.util.state\n"
        "from ray.util.metrics import Counter\n"
        "ray.init(num_cpus=1)\n"
        "@ray.remote\n"
        "def f():\n"
        "    import ray\n"
        "    return ray.__name__\n"
        "print(ray.get(f.remote()), sys.argv[1:])\n"
    )
    job = client.submit_job(
        entrypoint="python program.py --epochs 3",
        runtime_env={"working_dir": str(tmp_path)},
        metadata={"who": "me"},
    )
    assert job.startswith("raysubmit_")
    info = end(client, job)
    assert client.get_job_logs(job) == "heliostat ['--epochs', '3']\n", info
    assert info.status == JobStatus.SUCCEEDED == "SUCCEEDED"
    assert info.message == "Job finished successfully."
    assert (info.driver_exit_code, info.metadata) == (0, {"who": "me"})
    assert info.start_time <= info.end_time


def test_variables_and_modules_of_the_environment_are_there(client, tmp_path):
    (tmp_path / "mine.py").write_text("print('found')\n")
    job = client.submit_job(
        entrypoint="python -c \"import mine, os; print(os.environ['A'])\"",
        runtime_env={"env_vars": {"A": "b"}, "py_modules": [str(tmp_path)]},
    )
    end(client, job)
    assert client.get_job_logs(job) == "found\nb\n"


def test_a_program_that_fails_tells_its_last_words(client):
    job = client.submit_job(entrypoint="echo last words; exit 3")
    info = end(client, job)
    assert (info.status, info.driver_exit_code) == (JobStatus.FAILED, 3)
    assert info.error_type == "JOB_ENTRYPOINT_COMMAND_ERROR"
    assert info.message.startswith("Job entrypoint command failed with exit code 3")
    assert info.message.endswith("last words\n")


def test_a_job_is_stopped_with_all_its_processes(client):
    job = client.submit_job(entrypoint=f"({WAIT}) & {WAIT}", submission_id="two-processes")
    until(lambda: client.get_job_logs(job) == "1\n1\n", "both run")
    assert client.get_job_status(job) == JobStatus.RUNNING
    assert client.stop_job(job) is True
    info = end(client, job)
    assert (info.status, info.message) == (JobStatus.STOPPED, "Job was intentionally stopped.")
    assert client.stop_job(job) is False


def test_a_job_that_does_not_listen_is_killed(client):
    deaf = (
        "import os, signal, time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True)"
    )
    job = client.submit_job(entrypoint=f'python -c "{deaf}; time.sleep(1000)"')
    until(lambda: client.get_job_logs(job), "it runs")
    client.stop_job(job)
    info = end(client, job)
    assert info.status == JobStatus.STOPPED
    assert info.end_time - info.start_time >= 3000
    until(lambda: not os.path.exists(f"/proc/{int(client.get_job_logs(job))}"), "it is gone")


def test_a_job_outlives_who_submitted_it_and_others_see_it(client):
    program = (
        "from heliostat.job_submission import JobSubmissionClient\n"
        f"JobSubmissionClient().submit_job(entrypoint={WAIT!r}, submission_id='mine')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    until(lambda: client.get_job_logs("mine") == "1\n", "it runs")
    (job,) = client.list_jobs()
    assert (job.submission_id, job.status) == ("mine", JobStatus.RUNNING)
    assert int(job.driver_info.pid) > 1


def test_a_job_whose_supervisor_is_killed_has_failed_and_is_gone(client):
    job = client.submit_job(entrypoint=WAIT)
    until(lambda: client.get_job_logs(job) == "1\n", "it runs")
    pid = int(client.get_job_info(job).driver_info.pid)
    record = json.loads((_records.folder() / job / "job.json").read_text())
    os.kill(record["supervisor"], signal.SIGKILL)
    info = end(client, job)
    assert (info.status, info.error_type) == (JobStatus.FAILED, "JOB_SUPERVISOR_ACTOR_DIED")
    assert "looked after the job was killed" in info.message
    until(lambda: not os.path.exists(f"/proc/{pid}/exe"), "its process is gone")


def test_a_log_can_be_followed_to_its_end(client):
    async def follow(job):
        return [text async for text in client.tail_job_logs(job)]

    job = client.submit_job(entrypoint="echo one; echo two >&2")
    assert "".join(asyncio.run(follow(job))) == "one\ntwo\n"


def test_ended_jobs_are_deleted_and_the_oldest_forgotten(client, monkeypatch):
    monkeypatch.setattr(_records, "KEPT", 1)
    first = client.submit_job(entrypoint="true", submission_id="first")
    end(client, first)
    second = client.submit_job(entrypoint="true", submission_id="second")
    end(client, second)
    third = client.submit_job(entrypoint=WAIT, submission_id="third")
    assert [job.submission_id for job in client.list_jobs()] == ["second", "third"]
    assert client.delete_job(second) is True
    with pytest.raises(RuntimeError, match="Job second does not exist"):
        client.get_job_info(second)
    with pytest.raises(RuntimeError, match="non-terminal state RUNNING; stop_job"):
        client.delete_job(third)


def test_what_is_kept_is_for_this_user_only(client):
    client.submit_job(entrypoint="true", submission_id="private")
    folder = _records.folder()
    for path in (folder, folder / "private"):
        assert path.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(PermissionError, match="chmod 700"):
        client.list_jobs()
    folder.chmod(0o700)


@pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden", "-x", "a" * 129, "a\n", 3])
def test_names_are_no_paths(client, name):
    with pytest.raises(ValueError, match="a submission_id has at most 128"):
        client.submit_job(entrypoint="true", submission_id=name)
    with pytest.raises(ValueError, match="a submission_id has"):
        client.get_job_logs(name)


def test_mistakes_are_told(client, tmp_path):
    submit = client.submit_job
    submit(entrypoint="true", submission_id="taken")
    with pytest.raises(RuntimeError, match="submission_id taken already exists"):
        submit(entrypoint="true", submission_id="taken")
    with pytest.raises(ValueError, match="entrypoint must be a command"):
        submit(entrypoint=" ")
    with pytest.raises(NotImplementedError, match="entrypoint_num_gpus=1: a job has a session"):
        submit(entrypoint="true", entrypoint_num_gpus=1)
    with pytest.raises(NotImplementedError, match="'conda'"):
        submit(entrypoint="true", runtime_env={"conda": "x"})
    with pytest.raises(ValueError, match="is no folder"):
        submit(entrypoint="true", runtime_env={"working_dir": str(tmp_path / "none")})
    with pytest.raises(TypeError, match="metadata must be a dict of strings"):
        submit(entrypoint="true", metadata={"a": 1})
    with pytest.raises(NotImplementedError, match="Ray cluster"):
        JobSubmissionClient("http://127.0.0.1:8265")
    with pytest.raises(NotImplementedError, match="there is no server"):
        JobSubmissionClient(headers={"a": "b"})
    assert client.get_version()
