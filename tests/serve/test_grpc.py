"""gRPC, by a real client: the four kinds of calls, metadata, statuses, reflection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import heliostat as ray
from heliostat import serve
from heliostat.serve._grpc import servicer_function, status_of
from heliostat.serve.config import gRPCOptions
from heliostat.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RequestCancelledError,
    gRPCStatusError,
)
from tests.serve.conftest import free_port

grpc = pytest.importorskip("grpc")
pytest.importorskip("google.protobuf")
from tests.serve.fares_pb2 import Fare, FaresStub, Trip  # noqa: E402 - needs protobuf

SERVICER = "tests.serve.fares_pb2.add_FaresServicer_to_server"


@serve.deployment(ray_actor_options={"num_cpus": 0.1}, max_ongoing_requests=2)
class Fares:
    async def Ask(self, trip: Any, grpc_context: Any) -> Any:
        if trip.note == "deny":
            grpc_context.set_code(grpc.StatusCode.PERMISSION_DENIED)
            grpc_context.set_details("not you")
            raise ValueError("hidden")
        if trip.note == "full":
            raise gRPCStatusError(ValueError("no seats"), grpc.StatusCode.RESOURCE_EXHAUSTED)
        if trip.note == "broken":
            raise ValueError("a broken meter")
        if trip.note == "wait":
            import asyncio

            await asyncio.Event().wait()
        grpc_context.set_trailing_metadata([("currency", "EUR")])
        who = f"{grpc_context.request_id()} {serve.get_multiplexed_model_id()}"
        return Fare(miles=2 * trip.miles, note=who)

    def Count(self, trip: Any) -> Iterator[Any]:
        for number in range(int(trip.miles)):
            yield Fare(miles=number)
        if trip.note == "broken":
            raise ValueError("half way")

    async def Sum(self, trips: Any) -> Any:
        return Fare(miles=sum([trip.miles async for trip in trips]))

    async def Double(self, trips: Any) -> Any:
        async for trip in trips:
            yield Fare(miles=2 * trip.miles)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    ray.init(num_cpus=4)
    free = free_port()
    options = {"port": free, "grpc_servicer_functions": [SERVICER], "request_timeout_s": 2}
    serve.start(http_options={"port": free_port()}, grpc_options=options)
    serve.run(Fares.bind(), name="fares", route_prefix=None)
    yield free
    serve.shutdown()
    ray.shutdown()


@pytest.fixture(scope="module")
def channel(port: int) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as one:
        yield one


@pytest.fixture(scope="module")
def stub(channel: Any) -> Any:
    return FaresStub(channel)


def status(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().name, caught.value.details()


def test_a_call_goes_to_the_ingress_method_of_its_name(stub):
    assert stub.Ask(Trip(miles=4)).miles == 8


def test_metadata_names_application_request_and_model(stub):
    sent = [("application", "fares"), ("request_id", "r-1"), ("multiplexed_model_id", "m-2")]
    answer, call = stub.Ask.with_call(Trip(miles=1), metadata=sent)
    assert answer.note == "r-1 m-2"
    trailing = dict(call.trailing_metadata())
    assert (trailing["request_id"], trailing["currency"]) == ("r-1", "EUR")


def test_a_call_without_an_id_gets_one(stub):
    answer, call = stub.Ask.with_call(Trip(miles=1))
    assert answer.note.split()[0] == dict(call.trailing_metadata())["request_id"]


def test_a_generator_streams(stub):
    assert [fare.miles for fare in stub.Count(Trip(miles=100))] == list(range(100))


def test_a_client_streams(stub):
    assert stub.Sum(Trip(miles=n) for n in range(20)).miles == sum(range(20))


def test_both_stream(stub):
    answers = stub.Double(Trip(miles=n) for n in range(20))
    assert [fare.miles for fare in answers] == [2 * n for n in range(20)]


def test_statuses_that_the_user_sets_reach_the_client(stub):
    assert status(lambda: stub.Ask(Trip(note="deny"))) == ("PERMISSION_DENIED", "not you")
    assert status(lambda: stub.Ask(Trip(note="full"))) == ("RESOURCE_EXHAUSTED", "no seats")


def test_an_error_is_internal_and_shows_no_traceback(stub):
    assert status(lambda: stub.Ask(Trip(note="broken"))) == ("INTERNAL", "a broken meter")
    assert status(lambda: list(stub.Count(Trip(miles=2, note="broken")))) == (
        "INTERNAL",
        "half way",
    )


def test_what_is_not_there_is_told(stub, channel):
    code, details = status(lambda: stub.Ask(Trip(), metadata=[("application", "gone")]))
    assert code == "NOT_FOUND"
    assert "'gone' not found" in details
    code, details = status(lambda: stub.Lacking(Trip()))
    assert code == "INTERNAL"
    assert "no method 'Lacking'" in details
    assert status(lambda: channel.unary_unary("/other.Service/Ask")(b""))[0] == "UNIMPLEMENTED"


def test_a_call_that_takes_too_long_is_ended(stub):
    assert status(lambda: stub.Ask(Trip(note="wait")))[0] == "DEADLINE_EXCEEDED"
    assert stub.Ask(Trip(miles=1)).miles == 2


def test_clients_that_go_away_free_their_slots(stub):
    for _ in range(4):  # twice as many as run at a time
        call = stub.Ask.future(Trip(note="wait"))
        assert call.cancel()
    assert stub.Ask(Trip(miles=1)).miles == 2


def test_rays_own_service_answers(channel):
    own = "/ray.serve.RayServeAPIService/"
    assert channel.unary_unary(f"{own}Healthz")(b"") == b"\x0a\x07success"
    assert channel.unary_unary(f"{own}ListApplications")(b"") == b"\x0a\x05fares"


def test_tools_can_ask_which_services_there_are(channel):
    pytest.importorskip("grpc_reflection")
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(stub.ServerReflectionInfo(iter([asked])))
    assert "heliostat.test.Fares" in str(answer)


def test_an_application_must_be_named_where_there_are_two(stub):
    serve.run(Fares.options(name="Other").bind(), name="other", route_prefix=None)
    code, details = status(lambda: stub.Ask(Trip()))
    assert code == "NOT_FOUND"
    assert "Application metadata not set" in details
    assert stub.Ask(Trip(miles=1), metadata=[("application", "other")]).miles == 2
    serve.delete("other")
    assert stub.Ask(Trip(miles=1)).miles == 2


def test_many_calls_at_once_are_all_answered(stub):
    calls = [stub.Ask.future(Trip(miles=n)) for n in range(100)]
    assert [call.result(timeout=20).miles for call in calls] == [2 * n for n in range(100)]


def test_errors_have_the_statuses_of_rays_documentation():
    assert status_of(BackPressureError("busy")) == ("RESOURCE_EXHAUSTED", "busy")
    assert status_of(DeploymentUnavailableError("gone")) == ("UNAVAILABLE", "gone")
    assert status_of(RequestCancelledError(""))[0] == "CANCELLED"
    assert status_of(TimeoutError())[0] == "DEADLINE_EXCEEDED"
    assert status_of(KeyError()) == ("INTERNAL", "KeyError")


def test_wrong_options_name_the_value():
    with pytest.raises(TypeError, match="no 'ports'"):
        gRPCOptions.parse({"ports": 1})
    with pytest.raises(ValueError, match="70000"):
        gRPCOptions(port=70000)
    with pytest.raises(ValueError, match="list of import paths"):
        gRPCOptions(grpc_servicer_functions="a.b")
    with pytest.raises(ImportError, match=r"nowhere.*PYTHONPATH"):
        servicer_function("nowhere.add")
    with pytest.raises(ValueError, match="no function"):
        servicer_function("tests.serve.fares_pb2.SERVICE")
    with pytest.raises(ImportError, match="it is 'module"):
        servicer_function("add")
