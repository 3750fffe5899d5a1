"""util.state and timeline say what there is, what runs, and why something does not."""

import json
import os
import subprocess
import sys
import time

import pytest

import heliostat as ray
from heliostat.job_submission import JobSubmissionClient
from heliostat.runtime_context import records
from heliostat.testing._session import Gate
from heliostat.testing.clock import until
from heliostat.util import state


@pytest.fixture(autouse=True, params=["local", "inline"])
def engine(request):
    """A fresh session, because its history is what is tested."""
    ray.init(engine=request.param, num_cpus=1)
    yield request.param
    ray.shutdown()


@ray.remote
def echo(value):
    return value


@ray.remote
def fail():
    raise KeyError("no")


@ray.remote
class Keeper:
    def wait(self, gate):
        gate.wait()
        return os.getpid()

    def end(self):
        os._exit(3)


def test_tasks_that_have_ended_are_listed_with_their_end():
    ray.get([echo.remote(1), echo.remote(2)])
    with pytest.raises(KeyError):
        ray.get(fail.remote())
    done = state.list_tasks(filters=[("name", "=", "echo")], detail=True)
    assert [task.state for task in done] == ["FINISHED", "FINISHED"]
    assert all(task.start_time_ms <= task.end_time_ms for task in done)
    (failed,) = state.list_tasks(filters=[("state", "=", "failed")])
    assert (failed["name"], failed.error_type) == ("fail", "TASK_EXECUTION_EXCEPTION")
    assert len(state.list_tasks(limit=2)) == 2
    assert "start_time_ms" not in failed


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_call_in_whose_midst_its_actor_died_is_listed_as_failed(engine, restarts):
    if engine == "inline":
        pytest.skip("an actor of this process does not die alone")
    keeper = Keeper.options(max_restarts=restarts).remote()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(keeper.end.remote())
    (failed,) = state.list_tasks(filters=[("state", "=", "failed")])
    assert failed.name == "Keeper.end"
    assert state.summarize_tasks()["cluster"]["summary"]["Keeper.end"]["state_counts"] == {
        "FAILED": 1
    }


def test_a_task_is_found_by_its_reference_and_counted_by_its_name():
    ref = echo.remote(1)
    ray.get(ref)
    assert state.get_task(ref).name == "echo"
    assert state.get_task("no such") is None
    summary = state.summarize_tasks()["cluster"]
    assert summary["total_tasks"] == 1
    assert summary["summary"]["echo"]["state_counts"] == {"FINISHED": 1}


def test_actors_are_listed_with_their_state():
    keeper = Keeper.options(name="the keeper").remote()
    ray.get(keeper.__ray_ready__.remote())
    (row,) = state.list_actors()
    assert (row.class_name, row.name, row.state) == ("Keeper", "the keeper", "ALIVE")
    assert state.get_actor(row.actor_id).num_restarts == 0
    ray.kill(keeper)
    until(lambda: state.list_actors()[0].state == "DEAD", "it is dead")
    assert "kill" in state.list_actors(detail=True)[0].death_cause
    assert state.summarize_actors()["cluster"]["summary"]["Keeper"]["state_counts"] == {"DEAD": 1}


def test_this_machine_is_the_only_node():
    (node,) = state.list_nodes()
    assert (node.state, node.is_head_node, node.resources_total["CPU"]) == ("ALIVE", True, 1.0)
    assert state.get_node(node.node_id) == node


def test_what_runs_and_waits_is_listed_with_the_reason(engine, tmp_path):
    if engine == "inline":
        pytest.skip("nothing runs there while somebody asks")
    gate, keeper = Gate(tmp_path), Keeper.remote()
    first, second = keeper.wait.remote(gate), keeper.wait.remote(gate)
    third = echo.remote(second)

    def states():
        return [row.state for row in state.list_tasks(filters=[("name", "!=", "Keeper.__init__")])]

    until(
        lambda: states() == ["RUNNING", "SUBMITTED_TO_WORKER", "PENDING_ARGS_AVAIL"], "all is set"
    )
    rows = {row["task_id"]: row for row in state.list_tasks()}
    running, queued, waiting = (rows[ref.hex()] for ref in (first, second, third))
    assert running.reason.startswith("runs for 0 s in worker process ")
    assert queued.reason.startswith("comes after Keeper.wait, which runs")
    assert waiting.reason.startswith("waits for its arguments: Keeper.wait comes after")
    (worker,) = [row for row in state.list_workers() if row.runs]
    assert (worker.actor, worker.runs) == ("Keeper", "Keeper.wait")
    assert state.get_worker(worker.worker_id).pid == worker.pid == running.worker_pid
    (actor,) = state.list_actors()
    assert actor.num_pending_calls == 2
    gate.open()
    assert ray.get(third, timeout=20) == worker.pid


def test_objects_are_listed_with_their_size_the_largest_first(engine):
    if engine == "inline":
        pytest.skip("values are not counted there")
    small, large = ray.put("x"), ray.put(bytes(1 << 20))
    rows = state.list_objects(detail=True)
    assert [row.object_id for row in rows] == [large.hex(), small.hex()]
    assert rows[0].object_size >= 1 << 20
    assert state.get_objects(small.hex())[0].reference_type == "LOCAL_REFERENCE"
    assert state.summarize_objects()["cluster"]["total_objects"] == 2


def test_tasks_may_ask_too():
    @ray.remote
    def ask():
        return [row.name for row in state.list_tasks()]

    ray.get(echo.remote(1))
    assert "echo" in ray.get(ask.remote())


def test_a_row_is_a_mapping_and_has_attributes():
    row = state.State({"name": "f", "state": "RUNNING"})
    assert dict(row) == row.asdict() == {"name": "f", "state": "RUNNING"}
    assert len(row) == 2
    assert repr(row) == "State(name='f', state='RUNNING')"
    with pytest.raises(AttributeError, match="no field 'nam'; there are: name, state"):
        _ = row.nam


def test_mistakes_are_told():
    ray.get(echo.remote(1))
    with pytest.raises(ValueError, match="no field 'nam' to filter by; there are: task_id"):
        state.list_tasks(filters=[("nam", "=", "x")])
    with pytest.raises(ValueError, match='predicate is "=", "!=" or "contains", got \'like\''):
        state.list_tasks(filters=[("name", "like", "x")])
    with pytest.raises(ValueError, match="predicate"):  # also when there is nothing to filter
        state.list_actors(filters=[("name", "like", "x")])
    with pytest.raises(ValueError, match=r"a filter is \(field, predicate, value\), got 'name'"):
        state.list_actors(filters=["name"])
    with pytest.raises(ValueError, match="limit must be an int >= 1"):
        state.list_tasks(limit=0)
    with pytest.raises(NotImplementedError, match="only this session"):
        state.list_tasks(address="10.0.0.1:8265")
    with pytest.raises(ValueError, match="not of 'cats'"):
        records("cats")


def test_a_timeline_is_a_chrome_trace(tmp_path):
    ray.get([echo.remote(1), echo.remote(2)])
    events = ray.timeline()
    assert [event["name"] for event in events] == ["echo", "echo"]
    assert ray.timeline(str(tmp_path / "trace.json")) is None
    (first, _) = json.loads((tmp_path / "trace.json").read_text())
    assert first["ph"] == "X"
    assert first["dur"] >= 0


@ray.remote
def say(text, stream=1):
    os.write(stream, text)
    print("printed")


def test_what_tasks_and_actors_print_is_kept_in_the_session(engine, capfd):
    if engine == "inline":
        assert state.list_logs() == {}
        pytest.skip("nobody but the driver prints there")

    @ray.remote
    class Speaker:
        def speak(self):
            print("\x1b[31mhello\x1b[0m")
            print("careful", file=sys.stderr)
            return os.getpid()

    first, second = say.remote(b"caf\xe9\n"), say.remote(b"")
    ray.get([first, second])
    actor = Speaker.remote()
    pid = ray.get(actor.speak.remote())
    assert "".join(state.get_log(task_id=second.hex())) == "printed\n"
    with pytest.raises(UnicodeDecodeError):
        "".join(state.get_log(pid=pid))
    everything = b"".join(state.get_log(pid=pid, encoding=None))
    assert everything == b"caf\xe9\nprinted\nprinted\n\x1b[31mhello\x1b[0m\n"
    (row,) = state.list_actors()
    spoken = state.get_log(actor_id=row.actor_id, filter_ansi_code=True)
    assert "".join(spoken) == "hello\n"
    assert "".join(state.get_log(actor_id=row.actor_id, suffix="err")) == "careful\n"
    names = state.list_logs()
    assert len(names["worker_out"]) == len(names["worker_err"]) == 1
    assert state.list_logs(glob_filter="*.err") == {"worker_err": names["worker_err"]}
    (name,) = names["worker_out"]
    assert next(iter(state.get_log(filename=name, tail=1, errors="replace"))).endswith(
        "hello\x1b[0m\n"
    )
    ray.kill(actor)
    until(lambda: state.list_actors()[0].state == "DEAD", "it is dead")
    assert "".join(state.get_log(filename=names["worker_err"][0])) == "careful\n"


def test_a_log_can_be_followed(engine):
    if engine == "inline":
        pytest.skip("nobody but the driver prints there")
    ray.get(say.remote(b"one\n"))
    (pid,) = (
        {row.pid for row in state.list_workers()} if len(state.list_workers()) == 1 else (None,)
    )
    # Results and prints come on ways of their own, and the latter may take longer.
    until(lambda: f"{pid}.out" in str(state.list_logs()), "what it printed has been read")
    lines = state.get_log(pid=pid, follow=True, _interval=0.01)
    assert next(lines) == "one\nprinted\n"
    ray.get(say.remote(b"two\n"))
    assert next(lines).startswith("two\n")


def test_mistakes_about_logs_are_told():
    with pytest.raises(ValueError, match="name exactly one of filename, actor_id"):
        state.get_log()
    with pytest.raises(ValueError, match="name exactly one"):
        state.get_log(pid=1, task_id="x")
    with pytest.raises(ValueError, match='suffix must be "out" or "err"'):
        state.get_log(pid=1, suffix="log")
    with pytest.raises(ValueError, match="attempts are not told apart"):
        state.get_log(pid=1, attempt_number=1)
    with pytest.raises(ValueError, match="nothing is kept of what pid=1 has printed"):
        state.get_log(pid=1)


def test_this_program_and_submitted_jobs_are_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path))
    client = JobSubmissionClient()
    client.submit_job(entrypoint="echo hello", submission_id="said")
    until(lambda: client.get_job_status("said").is_terminal(), "it has ended", 60)
    submitted, this = state.list_jobs()
    assert (submitted.submission_id, submitted.status, this.type) == ("said", "SUCCEEDED", "DRIVER")
    assert int(this.driver_info["pid"]) == os.getpid()
    lives_s = int(subprocess.check_output(["ps", "-o", "etimes=", "-p", str(os.getpid())]))
    (driver,) = state.list_jobs(filters=[("type", "=", "DRIVER")], detail=True)
    assert time.time() - driver.start_time / 1000 == pytest.approx(lives_s, abs=3)
    assert state.get_job("said").driver_exit_code == 0
    assert state.get_job("unknown") is None
    assert "".join(state.get_log(submission_id="said")) == "hello\n"
    assert [
        job.status for job in state.list_jobs(filters=[("entrypoint", "contains", "Hello")])
    ] == ["SUCCEEDED"]


def test_a_client_shows_the_same(engine):
    ray.get(echo.remote(1))
    client = state.StateApiClient()
    (task,) = client.list("tasks")
    assert client.get("tasks", task.task_id).name == "echo"
    assert client.summary("tasks") == state.summarize_tasks()
    assert client.get("nodes", client.list("nodes")[0].node_id).state == "ALIVE"
    with pytest.raises(ValueError, match="nothing to summarize of 'nodes'"):
        client.summary("nodes")


def test_environments_are_listed_with_what_they_are():
    ray.get(echo.options(runtime_env={"env_vars": {"A": "1"}}).remote(1))
    ray.get(echo.remote(1))
    (env,) = state.list_runtime_envs()
    assert (env.runtime_env, env.success, env.error) == ({"env_vars": {"A": "1"}}, True, None)
    assert "ref_cnt" not in env
    assert state.list_runtime_envs(filters=[("success", "=", "False")]) == []
    assert len(state.StateApiClient().list("runtime_envs")) == 1


def test_an_environment_that_could_not_be_made_is_listed_and_an_event(engine):
    if engine == "inline":
        pytest.skip("there is nothing to make")
    bad = echo.options(runtime_env={"worker_process_setup_hook": "no.such.function"})
    with pytest.raises(ray.exceptions.RuntimeEnvSetupError):
        ray.get(bad.remote(1))
    (env,) = state.list_runtime_envs(detail=True)
    assert env.success is False
    assert "no.such" in env.runtime_env["worker_process_setup_hook"]
    assert "No module named" in env.error
    messages = [event.message for event in state.list_cluster_events()]
    assert any(message.startswith("an environment could not be made") for message in messages)


def test_events_tell_which_worker_died_under_what_and_how(engine):
    @ray.remote(max_retries=0)
    def die():
        os._exit(3)

    @ray.remote(max_restarts=1)
    class Mortal:
        def die(self):
            os._exit(4)

        def pid(self):
            return os.getpid()

    assert state.list_cluster_events() == []
    if engine == "inline":
        return
    ended = Keeper.remote()
    ray.get(ended.__ray_ready__.remote())
    ray.kill(ended)  # on purpose: no event
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(die.remote())
    mortal = Mortal.remote()
    pid = ray.get(mortal.pid.remote())
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(mortal.die.remote())
    task, actor = state.list_cluster_events(detail=True)
    assert task.message.startswith("a worker process died under task ")
    assert task.message.endswith("die: it ended with exit code 3")
    assert actor.message.endswith("Mortal: it ended with exit code 4")
    assert (actor.severity, actor.source_type) == ("ERROR", "RAYLET")
    assert actor.custom_fields["pid"] == pid
    assert len(state.list_cluster_events(filters=[("event_id", "=", task.event_id)])) == 1
    assert "custom_fields" not in state.list_cluster_events()[0]
    with pytest.raises(ValueError, match="no field 'nope'"):
        state.list_cluster_events(filters=[("nope", "=", 1)])
