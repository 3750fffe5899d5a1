"""Programs of Serve: handles, composition, HTTP, batches, models, options, FastAPI, status."""

import asyncio
import contextlib
import http.client
import json
import socket
import time

import fastapi
from outcomes import main, program, refused, told
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]


@contextlib.contextmanager
def running(ray, app, route=None, name="app"):
    """A handle to an application, which is gone afterwards."""
    try:
        yield ray.serve.run(app, name=name, route_prefix=route)
    finally:
        ray.serve.delete(name)


def ask(path, method="GET", body=None, headers=None, keep=()):
    """Status, content type, text, and the headers to keep, of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=20)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        text = answer.read().decode()
        kept = [answer.getheader(name) for name in keep]
        return [answer.status, answer.getheader("content-type"), text, *kept]
    finally:
        connection.close()


# Handles


@program
def a_function_and_a_class(ray):
    serve = ray.serve

    @serve.deployment
    def double(x):
        return 2 * x

    @serve.deployment
    class Adder:
        def __init__(self, by, *, more=0):
            self.by = by + more

        def __call__(self, x):
            return x + self.by

        def other(self, x):
            return x - self.by

    with running(ray, double.bind()) as handle:
        first = [handle.remote(3).result(), handle.remote(x=4).result()]
    with running(ray, Adder.bind(1, more=10)) as handle:
        return [first, handle.remote(1).result(), handle.other.remote(20).result()]


@program
def a_handle_s_answers(ray):
    @ray.serve.deployment
    class Answers:
        def fail(self):
            raise KeyError("of a replica")

        def nap(self, s):
            time.sleep(s)

        def many(self):
            return list(range(3))

    with running(ray, Answers.bind()) as handle:
        response = handle.many.remote()
        late = handle.nap.remote(1)
        return [
            type(handle).__name__,
            type(response).__name__,
            response.result(timeout_s=20),
            response.result(),
            refused(lambda: handle.fail.remote().result(), "of a replica"),
            refused(lambda: late.result(timeout_s=0.05)),
            refused(lambda: handle.nothing.remote().result(), "nothing"),
            refused(lambda: handle.many.remote(1).result()),
            bool(response.request_id),
        ]


@program
def handles_in_coroutines(ray):
    @ray.serve.deployment
    class Later:
        async def __call__(self, x):
            await asyncio.sleep(0.01)
            return x + 1

    with running(ray, Later.bind()) as handle:

        async def both():
            return await asyncio.gather(*(handle.remote(n) for n in range(3)))

        async def blocking():
            return handle.remote(1).result()

        return [asyncio.run(both()), refused(lambda: asyncio.run(blocking()))]


@program
def streams_of_a_handle(ray):
    @ray.serve.deployment
    class Streams:
        def count(self, n):
            yield from range(n)

        async def later(self, n):
            for i in range(n):
                yield i

        def breaks(self):
            yield 1
            raise ValueError("middle")

        def plain(self):
            return 5

    with running(ray, Streams.bind()) as handle:
        stream = handle.options(stream=True)
        broken = stream.breaks.remote()
        return [
            list(stream.count.remote(3)),
            list(stream.later.remote(2)),
            type(stream.count.remote(1)).__name__,
            next(broken),
            refused(lambda: next(broken), "middle"),
            refused(lambda: list(handle.count.remote(2))),
            refused(lambda: handle.count.remote(2).result()),
            refused(lambda: list(stream.plain.remote())),
        ]


@program
def a_cancelled_response(ray):
    @ray.serve.deployment
    class Naps:
        async def __call__(self):
            await asyncio.sleep(20)

    with running(ray, Naps.bind()) as handle:
        response = handle.remote()
        with contextlib.suppress(TimeoutError):
            response.result(timeout_s=0.3)
        response.cancel()
        return [refused(lambda: response.result(timeout_s=10)), response.cancelled()]


# Composition


@program
def deployments_in_deployments(ray):
    serve = ray.serve

    @serve.deployment
    class Inner:
        def __init__(self, by):
            self.by = by

        def __call__(self, x):
            return x * self.by

    @serve.deployment
    class Outer:
        def __init__(self, one, two, named=None):
            self.all = [one, two, named["a"]]

        async def __call__(self, x):
            found = [await handle.remote(x) for handle in self.all]
            return [*found, await self.all[0].remote(self.all[1].remote(x))]

    app = Outer.bind(Inner.bind(2), Inner.options(name="Three").bind(3), named={"a": Inner.bind(4)})
    with running(ray, app) as handle:
        names = sorted(ray.serve.status().applications["app"].deployments)
        return [handle.remote(1).result(), names]


@program
def responses_as_arguments(ray):
    serve = ray.serve

    @serve.deployment
    class Inner:
        def __call__(self, x):
            return x + 1

        def fail(self):
            raise ValueError("inner")

    @serve.deployment
    class Outer:
        def __init__(self, inner):
            self.inner = inner

        async def __call__(self, x):
            return await self.inner.remote(self.inner.remote(x))

        async def failing(self):
            return await self.inner.fail.remote()

    with running(ray, Outer.bind(Inner.bind())) as handle:
        return [
            handle.remote(1).result(),
            refused(lambda: handle.failing.remote().result(), "inner"),
            handle.remote(handle.remote(1)).result(),
        ]


# HTTP


@program
def answers_by_type(ray):
    answers = {
        "text": "words",
        "number": 5,
        "none": None,
        "list": [1, "a"],
        "dict": {"a": {"b": 1}},
        "bytes": b"raw",
        "bool": True,
        "float": 0.5,
    }

    @ray.serve.deployment
    def answer(request):
        return answers[request.url.path.rpartition("/")[2]]

    with running(ray, answer.bind(), "/types"):
        return {kind: ask(f"/types/{kind}") for kind in answers}


@program
def responses_of_starlette(ray):
    async def pieces():
        for n in range(3):
            yield f"{n},"

    @ray.serve.deployment
    class Web:
        async def __call__(self, request: Request):
            kind = request.query_params["kind"]
            if kind == "json":
                return JSONResponse({"a": 1}, status_code=201, headers={"x-mine": "yes"})
            if kind == "text":
                return PlainTextResponse("gone", status_code=410)
            return StreamingResponse(pieces(), media_type="text/plain")

    with running(ray, Web.bind(), "/web"):
        return [ask(f"/web?kind={kind}", keep=("x-mine",)) for kind in ("json", "text", "stream")]


@program
def what_a_request_tells(ray):
    @ray.serve.deployment
    class Web:
        async def __call__(self, request):
            return {
                "method": request.method,
                "path": request.url.path,
                "root": request.scope["root_path"],
                "query": dict(request.query_params),
                "body": (await request.body()).decode(),
                "header": request.headers.get("x-a"),
            }

    with running(ray, Web.bind(), "/told"):
        put = ask("/told/more?a=1&b=x%20y", "PUT", b"data", {"x-a": "b"})
        return [[*put[:2], json.loads(put[2])], ask("/told", "DELETE")[0]]


@program
def errors_over_http(ray):
    @ray.serve.deployment
    class Web:
        def __call__(self, request):
            if "http" in str(request.url):
                raise ValueError("secret")

    with running(ray, Web.bind(), "/errors"):
        answer = ask("/errors")
        return [answer[:2], answer[2], ask("/nobody")[:2], ask("/-/healthz"), ask("/errorsx")[0]]


@program
def routes_of_applications(ray):
    serve = ray.serve

    @serve.deployment
    def say(request):
        return request.url.path

    with running(ray, say.bind(), "/one", "one"), running(ray, say.bind(), "/one/two", "two"):
        routes = json.loads(ask("/-/routes")[2])
        return [
            ask("/one/three")[2],
            ask("/one/two/x")[2],
            {path: app for path, app in routes.items() if path.startswith("/one")},
            refused(lambda: serve.run(say.bind(), name="three", route_prefix="/one")),
        ]


@program
def routes_that_make_no_sense(ray):
    @ray.serve.deployment
    def say(request):
        return "x"

    run = ray.serve.run
    return [
        refused(lambda: run(say.bind(), name="bad", route_prefix="bad")),
        refused(lambda: run(say.bind(), name="bad", route_prefix="/{bad}")),
        refused(lambda: run(say.bind(), name="bad", route_prefix="/bad/")),
        refused(lambda: run(say, name="bad")),
        refused(lambda: run(5, name="bad")),
        refused(lambda: run(say.bind(), name="")),
        refused(lambda: ray.serve.delete("nobody")),
    ]


@program
def request_identifiers(ray):
    @ray.serve.deployment
    def say(request):
        return request.headers.get("x-request-id")

    with running(ray, say.bind(), "/ids"):
        answer = ask("/ids", headers={"x-request-id": "mine"}, keep=("x-request-id",))
        made = ask("/ids", keep=("x-request-id",))
        return [answer, bool(made[3])]


# FastAPI


@program
def an_application_of_fastapi(ray):
    app = fastapi.FastAPI()

    @ray.serve.deployment
    @ray.serve.ingress(app)
    class Shop:
        def __init__(self):
            self.items = {"a": 1}

        @app.get("/items/{name}")
        def read(self, name: str, more: int = 0):
            if name not in self.items:
                raise fastapi.HTTPException(404, f"no {name}")
            return {"name": name, "n": self.items[name] + more}

        @app.put("/items/{name}", status_code=201)
        async def write(self, name: str, n: int = fastapi.Body(embed=True)):
            self.items[name] = n
            return self.items

        @app.get("/fail")
        def fail(self):
            raise ValueError("secret")

    as_json = {"content-type": "application/json"}
    with running(ray, Shop.bind(), "/shop"):
        return [
            ask("/shop/items/a?more=2"),
            ask("/shop/items/z"),
            ask("/shop/items/a?more=x")[0],
            ask("/shop/items/b", "PUT", b'{"n": 5}', as_json),
            ask("/shop/items/b", "PUT", b'{"m": 5}', as_json)[0],
            ask("/shop/nothing"),
            ask("/shop/items/a", "DELETE")[:2],
            ask("/shop/fail"),
            sorted(json.loads(ask("/shop/openapi.json")[2])["paths"]),
            ask("/shop/docs")[0],
        ]


@program
def fastapi_and_handles(ray):
    app = fastapi.FastAPI()

    @ray.serve.deployment
    class Model:
        def __call__(self, x):
            return x * 2

    @ray.serve.deployment
    @ray.serve.ingress(app)
    class Web:
        def __init__(self, model):
            self.model = model

        @app.get("/")
        async def double(self, x: int):
            return await self.model.remote(x)

        def direct(self, x):
            return x

    with running(ray, Web.bind(Model.bind()), "/twice") as handle:
        return [ask("/twice/?x=4"), ask("/twice?x=4")[0], handle.direct.remote(5).result()]


@program
def middlewares_and_dependencies(ray):
    app = fastapi.FastAPI()

    @app.middleware("http")
    async def mark(request, call_next):
        response = await call_next(request)
        response.headers["x-seen"] = "yes"
        return response

    def user(token: str = fastapi.Header()):
        if token != "open":
            raise fastapi.HTTPException(401, "no")
        return "user"

    @ray.serve.deployment
    @ray.serve.ingress(app)
    class Web:
        @app.get("/who")
        def who(self, name: str = fastapi.Depends(user)):
            return name

    with running(ray, Web.bind(), "/guard"):
        seen = ("x-seen",)
        return [
            ask("/guard/who", headers={"token": "open"}, keep=seen),
            ask("/guard/who", headers={"token": "shut"}, keep=seen),
            ask("/guard/who")[0],
        ]


# Batches and models


@program
def batches_refuse(ray):
    batch = ray.serve.batch

    async def good(xs):
        return xs

    return [
        refused(lambda: batch(max_batch_size=0)(good)),
        refused(lambda: batch(max_batch_size="x")(good)),
        refused(lambda: batch(batch_wait_timeout_s=-1)(good)),
        refused(lambda: batch(lambda xs: xs)),
        refused(lambda: batch(5)),
        refused(lambda: batch(nonsense=1)),
    ]


@program
def models_by_name(ray):
    serve = ray.serve

    @serve.deployment
    class Models:
        def __init__(self):
            self.loads = []

        @serve.multiplexed(max_num_models_per_replica=2)
        async def model(self, name):
            self.loads.append(name)
            return f"model {name}"

        async def __call__(self, request=None):
            name = serve.get_multiplexed_model_id()
            return [name, await self.model(name)]

        def loaded(self):
            return self.loads

    with running(ray, Models.bind(), "/models") as handle:
        for name in ("a", "b", "a", "c", "a"):
            handle.options(multiplexed_model_id=name).remote().result()
        over = ask("/models", headers={"serve_multiplexed_model_id": "web"})
        return [handle.loaded.remote().result(), over]


@program
def multiplexed_refuses(ray):
    multiplexed = ray.serve.multiplexed

    async def load(self, name):
        return name

    return [
        refused(lambda: multiplexed(max_num_models_per_replica=0)(load)),
        refused(lambda: multiplexed(max_num_models_per_replica="x")(load)),
        refused(lambda: multiplexed(lambda self, name: name)),
        refused(lambda: multiplexed(5)),
    ]


# Options, status, what a replica knows


@program
def options_of_a_deployment(ray):
    serve = ray.serve

    @serve.deployment(num_replicas=2, max_ongoing_requests=7, user_config={"a": 1})
    class Plain:
        pass

    other = Plain.options(name="Other", num_replicas=1)
    return [
        [Plain.name, Plain.num_replicas, Plain.max_ongoing_requests, Plain.user_config],
        [other.name, other.num_replicas, other.max_ongoing_requests],
        Plain.func_or_class.__name__ if hasattr(Plain.func_or_class, "__name__") else None,
        type(Plain).__name__,
        type(Plain.bind()).__name__,
        [serve.deployment(Plain.func_or_class).num_replicas, Plain.max_queued_requests],
    ]


@program
def a_status(ray):
    serve = ray.serve

    @serve.deployment(num_replicas=2)
    class Plain:
        def __call__(self):
            return 1

    with running(ray, Plain.bind(), "/status", "known"):
        status = serve.status()
        app = status.applications["known"]
        deployment = app.deployments["Plain"]
        found = [
            str(getattr(app.status, "value", app.status)),
            str(getattr(deployment.status, "value", deployment.status)),
            {str(getattr(k, "value", k)): v for k, v in deployment.replica_states.items()},
            sorted(status.applications),
            [type(status).__name__, type(app).__name__, type(deployment).__name__],
        ]
    return [*found, "known" in serve.status().applications]


@program
def a_constructor_that_fails(ray):
    @ray.serve.deployment
    class Broken:
        def __init__(self):
            raise ValueError("born dead")

    outcome = refused(lambda: ray.serve.run(Broken.bind(), name="broken", route_prefix=None))
    status = ray.serve.status().applications["broken"].status
    ray.serve.delete("broken")
    return [outcome, str(getattr(status, "value", status))]


@program
def a_user_s_configuration(ray):
    serve = ray.serve

    @serve.deployment(user_config={"a": 1})
    class Tuned:
        def __init__(self):
            self.made = True

        def reconfigure(self, config):
            self.config = config

        def __call__(self):
            return self.config

    @serve.deployment(user_config={"a": 1})
    class Untuned:
        def __call__(self):
            return 1

    with running(ray, Tuned.bind()) as handle:
        first = handle.remote().result()
        again = serve.run(Tuned.options(user_config={"a": 2}).bind(), name="app", route_prefix=None)
        second = again.remote().result()
    outcome = refused(
        lambda: serve.run(Untuned.bind(), name="un", route_prefix=None).remote().result()
    )
    serve.delete("un")
    return [first, second, outcome]


@program
def what_a_replica_knows(ray):
    serve = ray.serve

    @serve.deployment
    class Knows:
        def __call__(self):
            context = serve.get_replica_context()
            return [
                context.app_name,
                context.deployment,
                bool(context.replica_tag),
                type(context.servable_object).__name__,
            ]

    with running(ray, Knows.bind()) as handle:
        return [handle.remote().result(), refused(lambda: serve.get_replica_context())]


def deployments_left(serve, most_s=20):
    """The names of the deployments; one that was replaced may take a while to go."""
    end = time.monotonic() + most_s
    while len(names := sorted(serve.status().applications["app"].deployments)) > 1:
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return names


@program
def two_applications_at_once(ray):
    serve = ray.serve

    @serve.deployment
    def say(word):
        return word

    one = serve.RunTarget(say.bind(), name="m1", route_prefix="/m1")
    two = serve.RunTarget(say.bind(), name="m2", route_prefix=None)
    handles = serve.run_many([one, two])
    found = [handle.remote("x").result() for handle in handles]
    for name in ("m1", "m2"):
        serve.delete(name)
    return found


@program
def health_checks(ray):
    @ray.serve.deployment(health_check_period_s=1, health_check_timeout_s=5)
    class Healthy:
        def check_health(self):
            pass

        def __call__(self):
            return "well"

    with running(ray, Healthy.bind()) as handle:
        return handle.remote().result()


@program
def configurations_that_make_no_sense(ray):
    config = ray.serve.config
    scaling = config.AutoscalingConfig
    return [
        refused(lambda: scaling(min_replicas=-1)),
        refused(lambda: scaling(min_replicas=2, max_replicas=1)),
        refused(lambda: scaling(target_ongoing_requests=0)),
        refused(lambda: scaling(initial_replicas=5, max_replicas=2)),
        refused(lambda: scaling(upscale_delay_s=-1)),
        [scaling().min_replicas, scaling().max_replicas, scaling().target_ongoing_requests],
        refused(lambda: config.HTTPOptions(port="x")),
        refused(lambda: config.HTTPOptions(nonsense=1).port),
        [config.HTTPOptions().host, config.HTTPOptions().port],
        refused(lambda: config.gRPCOptions(port="x")),
    ]


@program
def calls_without_anything_running(ray):
    @ray.serve.deployment
    def say(word):
        return word

    handle = ray.serve.run(say.bind(), name="gone", route_prefix=None)
    told_before = told(handle.remote("x").result())
    ray.serve.delete("gone")
    return [told_before, refused(lambda: handle.remote("x").result(timeout_s=5))]


def begin(ray):
    ray.serve.start(http_options={"host": "127.0.0.1", "port": PORT})


if __name__ == "__main__":
    main("serve", "serve.config", begin=begin, end=lambda ray: ray.serve.shutdown(), num_cpus=8)
