"""@serve.ingress: the user's own FastAPI or Starlette app."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import cloudpickle
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from heliostat import serve
from heliostat.serve._views import keep_own_views


class Item(BaseModel):
    name: str
    price: float = 1.0


def deployed(app: Any, kind: type | None = None, *args: Any, **kwargs: Any) -> Any:
    return serve.test_client(serve.deployment(serve.ingress(app)(kind)).bind(*args), **kwargs)


def test_methods_are_views_with_parameters_bodies_and_models():
    app = FastAPI()

    class Api:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @app.get("/price/{name}")
        def price(self, name: str, count: int = 1) -> dict[str, Any]:
            return {"name": name, "price": self.factor * count}

        @app.post("/items", status_code=201)
        async def create(self, item: Item, request: Request) -> Item:
            assert request.headers["content-type"] == "application/json"
            return Item(name=item.name, price=item.price * self.factor)

    client = deployed(app, Api, 2)
    assert client.get("/price/x?count=3").json() == {"name": "x", "price": 6}
    answer = client.post("/items", json={"name": "a"})
    assert (answer.status_code, answer.json()) == (201, {"name": "a", "price": 2})
    assert client.post("/items", json={"price": 1}).status_code == 422
    paths = client.get("/openapi.json").json()["paths"]
    parameters = paths["/price/{name}"]["get"]["parameters"]
    assert [p["name"] for p in parameters] == ["name", "count"]
    assert client.get("/docs").status_code == 200


def test_routers_dependencies_middleware_and_lifespan_are_the_users_own():
    seen: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        seen.append("up")
        yield {"colour": "red"}
        seen.append("down")

    app = FastAPI(lifespan=lifespan)
    router = APIRouter(prefix="/inner")

    @router.get("/colour")
    def colour(request: Request) -> str:
        return request.state.colour

    @app.middleware("http")
    async def stamp(request: Request, go_on: Any) -> Any:
        answer = await go_on(request)
        answer.headers["x-stamp"] = "1"
        return answer

    def word() -> str:
        return "dependency"

    class Api:
        @router.get("/own")
        def own(self, word: str = Depends(word)) -> str:
            return f"{type(self).__name__} {word}"

    app.include_router(router)
    client = deployed(app, Api)
    assert client.get("/inner/colour").json() == "red"
    own = client.get("/inner/own")
    assert (own.json(), own.headers["x-stamp"]) == ("Api dependency", "1")
    assert seen == ["up"]


def test_a_router_may_be_included_below_the_class_that_has_its_views():
    app, router = FastAPI(), APIRouter(prefix="/inner")

    class Api:
        @router.get("/own")
        def own(self, number: int) -> str:
            return f"{type(self).__name__} {number}"

    target = serve.ingress(app)(Api)
    app.include_router(router)
    client = serve.test_client(serve.deployment(target).bind())
    assert client.get("/inner/own?number=3").json() == "Api 3"
    shown = client.get("/openapi.json").json()["paths"]["/inner/own"]["get"]
    assert [parameter["name"] for parameter in shown["parameters"]] == ["number"]


def test_inherited_views_belong_to_the_class_that_inherits():
    app = FastAPI()

    class Base:
        @app.get("/who")
        def who(self) -> str:
            return type(self).__name__

    class Child(Base):
        pass

    assert deployed(app, Child).get("/who").json() == "Child"


def test_an_app_travels_to_a_replica_by_value():
    app = FastAPI()

    class Api:
        @app.post("/items")
        async def create(self, item: Item) -> str:
            return item.name

    target = cloudpickle.loads(cloudpickle.dumps(serve.deployment(serve.ingress(app)(Api))))
    client = serve.test_client(target.bind())
    assert client.post("/items", json={"name": "a"}).json() == "a"


def test_two_classes_on_one_app_keep_their_own_views():
    app = FastAPI()

    def make(name: str) -> Any:
        class Api:
            @app.get("/name")
            def name(self) -> str:
                return name

        return serve.deployment(serve.ingress(app)(Api))

    make("one")
    two = cloudpickle.loads(cloudpickle.dumps(make("two")))
    keep_own_views(two.func_or_class)
    assert serve.test_client(two.bind()).get("/name").json() == "two"


def test_websockets_and_streams():
    app = FastAPI()

    class Api:
        @app.websocket("/echo")
        async def echo(self, socket: WebSocket) -> None:
            await socket.accept()
            await socket.send_text(await socket.receive_text() + "!")
            await socket.close()

        @app.get("/count")
        def count(self, n: int) -> StreamingResponse:
            return StreamingResponse(f"{i}\n" for i in range(n))

    client = deployed(app, Api)
    with client.websocket_connect("/echo") as socket:
        socket.send_text("hi")
        assert socket.receive_text() == "hi!"
    assert client.get("/count?n=3").text == "0\n1\n2\n"


def test_starlette_apps_and_builders_and_apps_without_a_class():
    async def hello(request: Any) -> PlainTextResponse:
        return PlainTextResponse(f"hello {request.url.path}")

    starlette = Starlette(routes=[Route("/x", hello)])
    assert deployed(starlette).get("/x").text == "hello /x"
    assert deployed(lambda: starlette).get("/x").text == "hello /x"

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("bare")(scope, receive, send)

    assert deployed(bare).get("/x").text == "bare"

    class Late:
        def __serve_build_asgi_app__(self) -> Any:
            return starlette

    assert deployed(None, Late).get("/x").text == "hello /x"


def test_a_prefix_is_the_apps_root_path():
    app = FastAPI()

    @app.get("/where")
    def where(request: Request) -> list[str]:
        return [request.scope["root_path"], request.url.path]

    client = deployed(app, route_prefix="/api")
    assert client.get("/api/where").json() == ["/api", "/api/where"]
    assert client.get("/where").status_code == 404
    assert "/api/openapi.json" in client.get("/api/docs").text


def test_what_cannot_be_an_ingress_is_refused():
    app = FastAPI()
    with pytest.raises(TypeError, match="decorates a class"):
        serve.ingress(app)(lambda: 1)
    with pytest.raises(TypeError, match="takes an ASGI app"):
        serve.ingress(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="__serve_build_asgi_app__"):
        serve.ingress()(type("Empty", (), {}))
    with pytest.raises(ValueError, match="never calls"):
        serve.ingress(app)(type("Both", (), {"__call__": lambda self: 1}))
    starlette = Starlette()

    class Plain:
        def view(self, request: Any) -> None: ...

    starlette.routes.append(Route("/x", Plain.view))
    with pytest.raises(TypeError, match="knows no methods"):
        serve.ingress(starlette)(Plain)


def test_a_lifespan_that_fails_fails_the_deployment():
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        raise KeyError("no database")
        yield

    with pytest.raises(RuntimeError, match=r"(?s)failed at its start.*no database"):
        deployed(FastAPI(lifespan=lifespan))
