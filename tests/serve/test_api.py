"""Serve as its users meet it: the local engine, real processes, real HTTP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse

import heliostat as ray
from heliostat import serve
from heliostat.serve.exceptions import DeploymentUnavailableError, RayServeException
from heliostat.serve.schema import ApplicationStatus, DeploymentStatus, ReplicaState


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_journey_of_a_request(client: httpx.Client, scaler: serve.Deployment):
    handle = serve.run(scaler.bind(factor=2))
    answer = client.post("/", json=[1, 2])
    assert (answer.status_code, answer.json()) == (200, {"predictions": [2, 4]})
    assert answer.headers["x-request-id"]
    assert list(handle.predict.remote([3]).result()) == [6]
    assert handle.pid.remote().result() != os.getpid()
    overview = serve.status().applications["default"]
    assert overview.status == ApplicationStatus.RUNNING
    assert overview.deployments["Scaler"].status == DeploymentStatus.HEALTHY
    assert overview.deployments["Scaler"].replica_states == {ReplicaState.RUNNING: 1}


def test_malformed_json_is_a_500_and_the_replica_lives(
    client: httpx.Client, scaler: serve.Deployment
):
    handle = serve.run(scaler.bind(1))
    pid = handle.pid.remote().result()
    answer = client.post("/", content=b"{not json")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.text
    assert client.post("/", json=[1]).status_code == 200
    assert handle.pid.remote().result() == pid


def test_a_composed_application_calls_its_parts_and_passes_responses_on(
    client: httpx.Client, scaler: serve.Deployment
):
    @serve.deployment
    class Front:
        def __init__(self, parts: dict[str, serve.DeploymentHandle]) -> None:
            self.parts = parts

        async def __call__(self, request: Request) -> list[float]:
            first = self.parts["double"].predict.remote(await request.json())
            second = self.parts["triple"].predict.remote(first)
            return (await second).tolist()  # type: ignore[no-any-return]

    parts = {"double": scaler.bind(2), "triple": scaler.options(name="Triple").bind(3)}
    serve.run(Front.bind(parts))
    assert client.post("/", json=[1, 10]).json() == [6, 60]
    triple = serve.get_deployment_handle("Triple", "default")
    assert triple.predict.remote([1]).result().tolist() == [3]
    assert serve.get_app_handle("default").deployment_name == "Front"
    with pytest.raises(RayServeException, match=r"no application 'x'; there are \['default'\]"):
        serve.get_app_handle("x")


def test_handles_work_in_tasks(client: httpx.Client, scaler: serve.Deployment):
    @ray.remote
    def ask(handle: serve.DeploymentHandle) -> list[float]:
        return handle.predict.remote([7]).result().tolist()  # type: ignore[no-any-return]

    assert ray.get(ask.remote(serve.run(scaler.bind(3)))) == [21]


def test_functions_and_every_kind_of_response(client: httpx.Client):
    @serve.deployment
    def kinds(request: Request) -> Any:
        return {
            "text": "t",
            "bytes": b"b",
            "none": None,
            "response": PlainTextResponse("made", status_code=201),
            "stream": StreamingResponse(str(i) for i in range(5)),
        }[request.query_params["kind"]]

    serve.run(kinds.bind())
    got = {
        kind: client.get("/", params={"kind": kind})
        for kind in ("text", "bytes", "none", "response", "stream")
    }
    assert [answer.text for answer in got.values()] == ["t", "b", "null", "made", "01234"]
    assert got["response"].status_code == 201


def test_methods_that_are_not_async_run_beside_each_other(client: httpx.Client):
    @serve.deployment(max_ongoing_requests=2)
    class Meeting:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(2, timeout=20)

        def meet(self) -> int:
            return self.barrier.wait()

        async def parties(self) -> int:
            return self.barrier.parties

    handle = serve.run(Meeting.bind(), route_prefix=None)
    both = [handle.meet.remote(), handle.meet.remote()]
    assert sorted(response.result(timeout_s=20) for response in both) == [0, 1]


def test_no_more_than_max_ongoing_requests_run_at_a_time(client: httpx.Client):
    @serve.deployment(max_ongoing_requests=2)
    class Counting:
        def __init__(self) -> None:
            self.now, self.most, self.lock = 0, 0, threading.Lock()

        def work(self) -> None:
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            threading.Event().wait(0.005)
            with self.lock:
                self.now -= 1

        def peak(self) -> int:
            return self.most

    handle = serve.run(Counting.bind(), route_prefix=None)
    for response in [handle.work.remote() for _ in range(10)]:
        response.result(timeout_s=20)
    assert handle.peak.remote().result() == 2


def test_what_can_never_fit_is_refused_at_once(client: httpx.Client, scaler: serve.Deployment):
    with pytest.raises(ValueError, match=r"'Scaler' asks for GPU: 1, but the cluster has 0"):
        serve.run(scaler.options(ray_actor_options={"num_gpus": 1}).bind(1))


def test_applications_live_beside_each_other_by_prefix(
    client: httpx.Client, scaler: serve.Deployment
):
    serve.run(scaler.bind(1), name="one", route_prefix="/one")
    serve.run(scaler.bind(2), name="two", route_prefix="/one/two")
    # One connection, both applications: the second is reached from a replica of the first.
    assert client.post("/one", json=[1]).json() == {"predictions": [1]}
    assert client.post("/one/two", json=[1]).json() == {"predictions": [2]}
    assert client.get("/-/routes").json() == {"/one/two": "two", "/one": "one"}
    with pytest.raises(ValueError, match="'/one' belongs to application 'one'"):
        serve.run(scaler.bind(3), name="three", route_prefix="/one")
    serve.delete("one")
    assert client.post("/one", json=[1]).status_code == 404
    assert client.post("/one/two", json=[1]).json() == {"predictions": [2]}


def test_user_config_reaches_reconfigure_and_contexts_tell_who_runs(client: httpx.Client):
    @serve.deployment(user_config={"level": 3})
    class Configured:
        def reconfigure(self, config: dict[str, int]) -> None:
            self.level = config["level"]

        def __call__(self, request: Request) -> list[Any]:
            context = serve.get_replica_context()
            return [self.level, context.app_name, context.deployment, context.replica_tag]

    serve.run(Configured.bind(), name="app")
    level, app, deployment, tag = client.get("/").json()
    assert (level, app, deployment) == (3, "app", "Configured")
    assert tag.startswith("app#Configured#")


def test_a_handle_lives_on_when_its_application_is_deleted_and_deployed_again(
    client: httpx.Client, scaler: serve.Deployment, until: Callable[..., None]
):
    handle = serve.run(scaler.bind(1))
    assert handle.predict.remote([1]).result().tolist() == [1]
    serve.delete("default")
    until(lambda: "deleted" in str(_error_of(handle.predict.remote([1]))))
    assert serve.run(scaler.bind(2)).predict.remote([1]).result().tolist() == [2]
    until(lambda: _error_of(handle.predict.remote([1])) is None)


def _error_of(response: serve.DeploymentResponse) -> Exception | None:
    try:
        response.result(timeout_s=20)
    except DeploymentUnavailableError as error:
        return error
    return None


def test_a_class_for_handles_only_deploys_and_fails_http_requests(client: httpx.Client):
    @serve.deployment
    class Quiet:
        def __init__(self) -> None:
            self.name = serve.get_replica_context().deployment

        def who(self) -> str:
            return self.name

    assert serve.run(Quiet.bind()).who.remote().result() == "Quiet"
    assert client.get("/").status_code == 500


def test_result_in_an_event_loop_is_refused(client: httpx.Client, scaler: serve.Deployment):
    @serve.deployment
    class Wrong:
        def __init__(self, inner: serve.DeploymentHandle) -> None:
            self.inner = inner

        async def ask(self) -> Any:
            return self.inner.pid.remote().result()

        def ask_in_thread(self) -> Any:
            return self.inner.pid.remote().result()

    handle = serve.run(Wrong.bind(scaler.bind(1)), route_prefix=None)
    with pytest.raises(RuntimeError, match="use `await response`"):
        handle.ask.remote().result()
    assert handle.ask_in_thread.remote().result() > 0


def run_program(code: str, folder: Path, *, until_text: str = "") -> subprocess.Popen[str]:
    program = folder / "program.py"
    program.write_text(code)
    return subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


PROGRAM = """
import os, sys, time
import heliostat as ray
from heliostat import serve

@serve.deployment
class Echo:
    async def __call__(self, request): return await request.json()
    def pid(self): return os.getpid()

if __name__ == "__main__":
    ray.init(num_cpus=2)
    serve.start(http_options={{"port": {port}}})
    handle = serve.run(Echo.bind())
    print(handle.pid.remote().result(), flush=True)
    {end}
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("end", ["pass", "time.sleep(60)", "serve.run(Echo.bind(), blocking=True)"])
def test_nothing_is_left_however_the_driver_ends(
    end: str, tmp_path: Path, until: Callable[..., None]
):
    port = free_port()
    driver = run_program(PROGRAM.format(port=port, end=end), tmp_path)
    assert driver.stdout is not None
    assert driver.stderr is not None
    replica = int(driver.stdout.readline())
    if end.startswith("time"):
        driver.kill()
    elif end.startswith("serve"):
        assert f"'default' runs (http://127.0.0.1:{port}/)" in driver.stderr.readline()
        driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=30)
    if end == "pass":
        assert (driver.returncode, errors) == (0, "")
    elif end.startswith("serve"):
        assert (driver.returncode, errors) == (0, "Serve shuts down.\n")
    until(lambda: not is_alive(replica) and not is_open(port), 2)


def test_a_taken_port_is_told_at_once_and_leaves_nothing(tmp_path: Path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        driver = run_program(PROGRAM.format(port=port, end="pass"), tmp_path)
        _, errors = driver.communicate(timeout=30)
    assert driver.returncode == 1
    last = errors.strip().splitlines()[-1]
    assert f"port {port} on 127.0.0.1 is taken by process {os.getpid()} (" in last
    assert "PortTakenError" in last
