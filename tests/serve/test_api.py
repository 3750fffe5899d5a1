"""Serve as its users meet it: the local engine, real processes, real HTTP."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import heliostat as ray
from heliostat import serve
from heliostat.serve.exceptions import (
    DeploymentUnavailableError,
    RayServeException,
    RequestCancelledError,
)
from heliostat.serve.metrics import Counter
from heliostat.serve.schema import ApplicationStatus, DeploymentStatus, ReplicaState
from heliostat.util.metrics import exposition
from heliostat.util.state import list_actors


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


def test_health_is_told_by_serve_itself_where_an_application_has_all_paths(client: httpx.Client):
    @serve.deployment
    def everything(request: Request) -> Any:
        return f"the application at {request.url.path}"

    serve.run(everything.bind())
    assert client.get("/-/healthz").text == "success"
    assert client.get("/x").text == "the application at /x"
    assert client.get("/-/healthz").text == "success"  # by the replica, on the same connection


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


def test_lists_say_which_deployment_an_actor_is_a_replica_of(
    client: httpx.Client, scaler: serve.Deployment
):
    serve.run(scaler.bind(2), name="fares")
    known = {row.class_name for row in list_actors() if row.state == "ALIVE"}
    assert f"ServeReplica:fares:{scaler.name}" in known


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


def test_generators_stream_items_as_they_come(client: httpx.Client):
    @serve.deployment(max_ongoing_requests=2)
    class Stream:
        def count(self, n: int) -> Any:
            yield from range(n)

        async def until_told(self) -> Any:
            self.told = asyncio.Event()
            yield "first"
            await self.told.wait()
            yield "second"

        def tell(self) -> None:
            self.told.set()

        async def fail(self) -> Any:
            yield 1
            raise KeyError("half-way")

    handle = serve.run(Stream.bind())
    stream = handle.options(stream=True)
    assert list(stream.count.remote(500)) == list(range(500))
    items = stream.until_told.remote()
    assert next(items) == "first"
    handle.tell.remote().result()
    assert list(items) == ["second"]
    broken = stream.fail.remote()
    assert next(broken) == 1
    with pytest.raises(KeyError, match="half-way"):
        next(broken)
    with pytest.raises(TypeError, match=r"options\(stream=True\)"):
        handle.count.remote(1).result()


def test_an_ingress_with_an_app_answers_over_http(client: httpx.Client):
    app = FastAPI()

    @serve.deployment
    @serve.ingress(app)
    class Api:
        def __init__(self, inner: serve.DeploymentHandle) -> None:
            self.inner = inner

        @app.post("/double")
        async def double(self, body: dict[str, int]) -> dict[str, int]:
            return {"x": await self.inner.double.remote(body["x"])}

        @app.get("/stream")
        def stream(self, n: int) -> StreamingResponse:
            return StreamingResponse((f"{i}\n" for i in range(n)), media_type="text/plain")

        @app.websocket("/echo")
        async def echo(self, socket: WebSocket) -> None:
            await socket.accept()
            while True:
                await socket.send_text(await socket.receive_text() + "!")

    @serve.deployment
    class Inner:
        async def double(self, x: int) -> int:
            return 2 * x

    serve.run(Api.bind(Inner.bind()), route_prefix="/api")
    assert client.post("/api/double", json={"x": 4}).json() == {"x": 8}
    assert client.post("/api/double", json=[1]).status_code == 422
    assert client.get("/api/stream?n=3").text == "0\n1\n2\n"
    assert client.get("/api/docs").status_code == 200
    with connect(f"ws://{client.base_url.host}:{client.base_url.port}/api/echo") as socket:
        for word in ("a", "b"):
            socket.send(word)
            assert socket.recv() == f"{word}!"
    with pytest.raises(InvalidStatus):
        connect(f"ws://{client.base_url.host}:{client.base_url.port}/nowhere")


def test_an_ingress_with_routers_in_routers_and_mounted_apps_travels(client):
    api, inner, outer, mounted = FastAPI(), APIRouter(), APIRouter(), FastAPI()

    @mounted.get("/hello")
    def hello() -> str:
        return "mounted"

    @inner.get("/{number}")
    async def double(number: int, plus: int = Depends(lambda: 1)) -> int:
        return 2 * number + plus

    outer.include_router(inner, prefix="/double")
    api.include_router(outer, prefix="/outer")
    mounted.include_router(inner)

    @serve.deployment(ray_actor_options={"num_cpus": 0.1})
    @serve.ingress(api)
    class Api:
        @outer.get("/own")
        def own(self) -> str:
            return type(self).__name__

    api.mount("/sub", mounted)
    serve.run(Api.bind())
    answers = [
        client.get(path) for path in ("/outer/double/4", "/outer/own", "/sub/hello", "/sub/5")
    ]
    assert [answer.json() for answer in answers] == [9, "Api", "mounted", 11]
    assert "/outer/double/{number}" in client.get("/openapi.json").json()["paths"]


def test_a_view_that_raises_is_logged_once_and_leaves_the_connection_to_the_next(client, capfd):
    app = FastAPI()

    @serve.deployment(ray_actor_options={"num_cpus": 0.1})
    @serve.ingress(app)
    class Api:
        @app.get("/boom")
        def boom(self) -> None:
            raise KeyError("once")

        @app.get("/ok")
        def ok(self) -> str:
            return "ok"

    serve.run(Api.bind())
    for _ in range(20):
        assert client.get("/boom").status_code == 500
        assert client.get("/ok").json() == "ok"
    time_is_up = time.monotonic() + 20
    said = ""
    while said.count("KeyError: 'once'") < 20 and time.monotonic() < time_is_up:
        said += capfd.readouterr().err
    assert said.count("KeyError: 'once'") == 20


def test_what_is_to_be_done_after_an_answer_is_done_though_the_client_has_gone(
    client: httpx.Client, until: Callable[..., None], tmp_path: Path
):
    app, gate = FastAPI(), tmp_path / "gate"

    @serve.deployment
    @serve.ingress(app)
    class Later:
        async def write(self, name: str) -> None:
            while not gate.exists():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
            (tmp_path / name).touch()

        @app.get("/{name}")
        async def front(self, name: str) -> PlainTextResponse:
            return PlainTextResponse("at once", background=BackgroundTask(self.write, name))

    serve.run(Later.bind())
    with httpx.Client(base_url=client.base_url) as other:
        assert other.get("/a").text == "at once"
        assert other.get("/b").text == "at once"  # on the same connection
    assert client.get("/c").text == "at once"  # by then the other has been seen to go
    gate.touch()
    until(lambda: all((tmp_path / name).exists() for name in "abc"))


def test_who_goes_away_cancels_what_it_began_all_the_way_down(
    client: httpx.Client, until: Callable[..., None]
):
    @serve.deployment
    class Deep:
        def __init__(self) -> None:
            self.states: list[str] = []

        async def forever(self) -> None:
            self.states.append("began")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.states.append("cancelled")
                raise

        async def seen(self) -> list[str]:
            return self.states

    @serve.deployment
    class Middle:
        def __init__(self, deep: serve.DeploymentHandle) -> None:
            self.deep = deep

        async def forever(self) -> None:
            await self.deep.forever.remote()

    @serve.deployment
    class Front:
        def __init__(self, middle: serve.DeploymentHandle) -> None:
            self.middle = middle

        async def __call__(self, request: Request) -> None:
            await self.middle.forever.remote()

    serve.run(Front.bind(Middle.bind(Deep.bind())))
    deep = serve.get_deployment_handle("Deep", "default")
    with pytest.raises(httpx.ReadTimeout):
        client.get("/", timeout=0.5)
    until(lambda: deep.seen.remote().result() == ["began", "cancelled"])
    response = serve.get_deployment_handle("Middle", "default").forever.remote()
    until(lambda: len(deep.seen.remote().result()) == 3)
    response.cancel()
    until(lambda: deep.seen.remote().result()[2:] == ["began", "cancelled"])
    with pytest.raises(RequestCancelledError):
        response.result()


def test_models_go_to_the_replica_that_has_them(client: httpx.Client):
    @serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0})
    class Models:
        @serve.multiplexed(max_num_models_per_replica=2)
        async def model(self, model_id: str) -> str:
            return f"{model_id} on {os.getpid()}"

        async def __call__(self, request: Any = None) -> str:
            return await self.model(serve.get_multiplexed_model_id())

    handle = serve.run(Models.bind())
    seen = {
        handle.options(multiplexed_model_id=model_id).remote().result()
        for _ in range(10)
        for model_id in "abcd"
    }
    assert len(seen) == 4
    assert len({line.split()[-1] for line in seen}) == 2
    answer = client.get("/", headers={"serve_multiplexed_model_id": "a"})
    assert answer.text.startswith("a on")


def test_many_applications_run_at_a_time(client: httpx.Client):
    @serve.deployment
    class Word:
        def __init__(self, word: str) -> None:
            self.word = word

        def __call__(self) -> str:
            return self.word

    targets = [serve.RunTarget(Word.bind(word), word, f"/{word}") for word in ("a", "b")]
    handles = serve.run_many(targets)
    assert [handle.remote().result() for handle in handles] == ["a", "b"]
    assert [client.get(f"/{word}").text for word in ("a", "b")] == ["a", "b"]
    with pytest.raises(ValueError, match="two applications have one name"):
        serve.run_many([targets[0], targets[0]])
    with pytest.raises(ValueError, match="no applications"):
        serve.run_many([])
    with pytest.raises(TypeError, match=r"takes serve\.RunTarget.*got Application"):
        serve.run_many([targets[0].target])


def test_requests_beyond_the_queue_are_refused_with_a_time_to_come_back(
    client: httpx.Client, port: int, until: Callable[..., None], tmp_path: Path
):
    @serve.deployment(
        max_ongoing_requests=1,
        max_queued_requests=1,
        backpressure_config={"status_code": 429, "retry_after_s": 1.5},
    )
    class Gate:
        def __init__(self, gate: str) -> None:
            self.gates = iter([f"{gate}0", f"{gate}1"])

        def __call__(self, request: Request) -> str:
            return Path(next(self.gates)).read_text()  # a pipe: waits for who writes

    gates = [tmp_path / "gate0", tmp_path / "gate1"]
    for gate in gates:
        os.mkfifo(gate)
    serve.run(Gate.bind(str(tmp_path / "gate")))
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(httpx.get(f"http://127.0.0.1:{port}/", timeout=20))

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) == 2)
    assert {answer.status_code for answer in answers} == {429}
    assert answers[0].headers["retry-after"] == "2"
    for gate in gates:
        gate.write_text("through")
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]


def test_requests_are_counted_under_rays_names(client: httpx.Client, until: Callable[..., None]):
    @serve.deployment
    class Counted:
        def __init__(self) -> None:
            self.calls = Counter("my_calls", "Calls.", tag_keys=("kind",))

        async def __call__(self, request: Request) -> str:
            self.calls.inc(tags={"kind": "http"})
            if request.query_params:
                raise KeyError("asked for")
            return "x"

        async def twice(self, x: int) -> int:
            return 2 * x

    handle = serve.run(Counted.bind(), name="counted", route_prefix="/counted")
    assert handle.twice.remote(1).result() == 2
    codes = [client.get("/counted" + query).status_code for query in ("", "", "?fail=1")]
    assert codes == [200, 200, 500]
    expected = [
        r'ray_my_calls_total\{application="counted",deployment="Counted",kind="http",.*\} 3',
        r'ray_serve_deployment_request_counter_total\{application="counted",.*route="/counted"\} 3',
        r'ray_serve_deployment_request_counter_total\{application="counted",.*route=""\} 1',
        r'ray_serve_deployment_error_counter_total\{application="counted",.*\} 1',
        r'ray_serve_deployment_processing_latency_ms_count\{application="counted",.*\} 3',
        r'ray_serve_num_http_requests_total\{application="counted",method="GET",.*"200"\} 2',
        r'ray_serve_num_http_error_requests_total\{application="counted",error_code="500",.*\} 1',
        r'ray_serve_http_request_latency_ms_count\{application="counted",.*"200"\} 2',
    ]
    until(lambda: all(re.search(line, exposition()) for line in expected))
