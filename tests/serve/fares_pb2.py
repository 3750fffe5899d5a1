"""What protoc and its gRPC plugin would generate for a small service, made without them."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "heliostat.test.Fares"
_KINDS = {
    "Ask": ("unary", "unary"),
    "Count": ("unary", "stream"),
    "Sum": ("stream", "unary"),
    "Double": ("stream", "stream"),
    "Lacking": ("unary", "unary"),
}


def _message(file: Any, name: str) -> None:
    message = file.message_type.add(name=name)
    message.field.add(name="miles", number=1, type=1, label=1)
    message.field.add(name="note", number=2, type=9, label=1)


def _classes() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="heliostat_test_fares.proto", package="heliostat.test", syntax="proto3"
    )
    _message(file, "Trip")
    _message(file, "Fare")
    service = file.service.add(name="Fares")
    for name, (ask, answer) in _KINDS.items():
        service.method.add(
            name=name,
            input_type=".heliostat.test.Trip",
            output_type=".heliostat.test.Fare",
            client_streaming=ask == "stream",
            server_streaming=answer == "stream",
        )
    pool = descriptor_pool.Default()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    found = [pool.FindMessageTypeByName(f"heliostat.test.{name}") for name in ("Trip", "Fare")]
    return [message_factory.GetMessageClass(each) for each in found]


Trip, Fare = _classes()
Trip.__module__ = Fare.__module__ = __name__


def add_FaresServicer_to_server(servicer: Any, server: Any) -> None:
    import grpc

    handlers = {
        name: getattr(grpc, f"{ask}_{answer}_rpc_method_handler")(
            getattr(servicer, name),
            request_deserializer=Trip.FromString,
            response_serializer=Fare.SerializeToString,
        )
        for name, (ask, answer) in _KINDS.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)


class FaresStub:
    """As the generated one: a method for each of the service's."""

    def __init__(self, channel: Any) -> None:
        for name, (ask, answer) in _KINDS.items():
            call = getattr(channel, f"{ask}_{answer}")(
                f"/{SERVICE}/{name}",
                request_serializer=Trip.SerializeToString,
                response_deserializer=Fare.FromString,
            )
            setattr(self, name, call)
