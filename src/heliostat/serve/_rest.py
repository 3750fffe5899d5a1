"""The REST interface of a running Serve: GET, PUT and DELETE /api/serve/applications/, and /metrics.

On loopback, with a token that only this user can read; a page of a browser that knows neither
cannot use it. It runs in the process that `heliostat serve` started, in a thread.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from heliostat.serve import api
from heliostat.serve._acceptor import listen
from heliostat.serve._checks import whole
from heliostat.serve._import import load
from heliostat.serve.autoscaling import AutoscalingPolicy
from heliostat.serve.deploy_schema import ServeDeploySchema
from heliostat.serve.exceptions import ExternalScalerDisabledError, RayServeException
from heliostat.util.metrics import exposition

PORT = 8265  # where Ray's dashboard has the same interface
_SCALE = "/api/v1/applications/{app}/deployments/{deployment}/scale"
_HOSTS = ("127.0.0.1", "localhost", "[::1]")


def token_file(port: int) -> Path:
    """Where the token of the Serve on this port is."""
    folder = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/heliostat-{os.getuid()}"
    return Path(folder) / f"serve-{port}.token"


def new_token(port: int) -> str:
    """Make a token and write it where only this user can read it.

    Raises:
        PermissionError: When somebody else has made the folder.
    """
    file = token_file(port)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if file.parent.stat().st_uid != os.getuid():
        raise PermissionError(f"{file.parent} belongs to another user")
    token = secrets.token_urlsafe(32)
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(token)
    return token


class Deployments:
    """What was asked for last, and how to carry it out; `begun` says how Serve listens."""

    def __init__(self, begun: ServeDeploySchema | None = None) -> None:
        self.config = self.begun = begun or ServeDeploySchema()
        self._lock = threading.Lock()

    def apply(self, config: ServeDeploySchema) -> None:
        """Run these applications, and end all others.

        Raises:
            ValueError: For a config that cannot be run; nothing has changed then.
            DeployFailedError: When a replica cannot be made; the old ones go on.
        """
        with self._lock:
            targets = [
                api.RunTarget(
                    load(app),
                    app.name,
                    app.route_prefix,
                    app.logging_config,
                    app.external_scaler_enabled,
                )
                for app in config.applications
            ]
            if targets:
                policies = {
                    app.name: AutoscalingPolicy(**app.autoscaling_policy)
                    for app in config.applications
                    if app.autoscaling_policy is not None
                }
                api.run_many(targets, _target_capacity=config.target_capacity, _policies=policies)
            wanted = {app.name for app in config.applications}
            for name in set(api.status().applications) - wanted:
                api.delete(name)
            self.config = config

    def unchanged(self) -> list[str]:
        """What was asked for last and is otherwise: how to listen is said to Serve when it starts."""
        now, asked = self.begun.to_http_options(), self.config.to_http_options()
        pairs = [(key, getattr(now, key), getattr(asked, key)) for key in self.config.http_options]
        return [f"http_options.{key} stays {has!r}" for key, has, wish in pairs if has != wish]

    def details(self) -> dict[str, Any]:
        """How everything is."""
        overview = asdict(api.status())
        found = api.describe()
        asked = {app["name"]: app for app in self.config.to_dict()["applications"]}
        for name, app in overview["applications"].items():
            more = found["applications"].get(name, {"route_prefix": None, "deployments": {}})
            deployments = {
                each: {**status, **more["deployments"].get(each, {})}
                for each, status in app["deployments"].items()
            }
            source = "declarative" if name in asked else "imperative"
            app.update(more, name=name, docs_path=None, source=source, deployments=deployments)
            app["deployed_app_config"] = asked.get(name)
        overview["proxies"] = {
            node: {"status": status, "node_ip": node}
            for node, status in overview["proxies"].items()
        }
        return {
            "proxy_location": str(self.config.proxy_location),
            "http_options": dict(self.begun.http_options),
            "grpc_options": dict(self.config.grpc_options),
            "controller_health_metrics": found["health"],
            "target_groups": list(_target_groups(found)),
            **overview,
        }


def _target_groups(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Where a load balancer would send what comes for each route."""
    about = {"instance_id": "", "name": "proxy"}
    places = map(urlsplit, found["urls"])
    if not (targets := [{"ip": at.hostname, "port": at.port, **about} for at in places]):
        return
    for name, app in found["applications"].items():
        if app["route_prefix"] is not None:
            yield {
                "targets": targets,
                "route_prefix": app["route_prefix"],
                "protocol": "HTTP",
                "app_name": name,
            }


def application(deployments: Deployments, token: str, end: Callable[[], None]) -> Starlette:
    """The interface as an ASGI app.

    Args:
        deployments: What it speaks of.
        token: What every request must bring, as a bearer.
        end: Called by DELETE, when all applications have ended.
    """

    def handle(request: Request, body: bytes) -> Response:
        if request.method == "GET":
            return JSONResponse(deployments.details())
        if request.method == "DELETE":
            deployments.apply(ServeDeploySchema())
            end()
            return JSONResponse({})
        deployments.apply(ServeDeploySchema.parse(json.loads(body)))
        return JSONResponse({"unchanged": deployments.unchanged()})

    async def answer(request: Request) -> Response:
        refusal = _refusal(request, token)
        if refusal is not None:
            return refusal
        body = await request.body()
        import anyio.to_thread  # noqa: PLC0415 - starlette's own, loaded with the first request

        does = _scale if "app" in request.path_params else handle
        try:
            return await anyio.to_thread.run_sync(does, request, body)
        except (ValueError, ImportError, TypeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        except Exception as error:  # noqa: BLE001 - user code, or a replica that does not start
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 500)

    def metrics(request: Request) -> Response:
        # Without a token: scrapers have none, and there is nothing secret in it.
        if _host(request) not in _HOSTS:
            return JSONResponse({"error": "only programs on this machine may ask"}, 403)
        return PlainTextResponse(exposition())

    path = "/api/serve/applications/"
    return Starlette(
        routes=[
            Route(path, answer, methods=["GET", "PUT", "DELETE"]),
            Route(_SCALE, answer, methods=["POST"]),
            Route("/metrics", metrics),
        ]
    )


def _scale(request: Request, body: bytes) -> Response:
    """Another number of replicas, for who looks after that outside."""
    asked = json.loads(body)
    number: Any = asked.get("target_num_replicas") if isinstance(asked, dict) else None
    whole("target_num_replicas", number, 0)
    try:
        api.scale(request.path_params["app"], request.path_params["deployment"], number)
    except (LookupError, RayServeException) as error:
        disabled = isinstance(error, ExternalScalerDisabledError)
        return JSONResponse({"error": str(error)}, 412 if disabled else 404)
    return JSONResponse({"message": "The deployment gets or loses replicas now."})


def _host(request: Request) -> str:
    return request.headers.get("host", "").rsplit(":", 1)[0]


def _refusal(request: Request, token: str) -> Response | None:
    if _host(request) not in _HOSTS or "origin" in request.headers:
        return JSONResponse({"error": "only programs on this machine may ask"}, 403)
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), token.encode()):
        return JSONResponse({"error": "the token is missing or wrong"}, 401)
    return None


@contextlib.contextmanager
def served(deployments: Deployments, port: int, end: Callable[[], None]) -> Iterator[None]:
    """Serve the interface in a thread meanwhile.

    Raises:
        PortTakenError: When the port is taken.
    """
    sock = listen("127.0.0.1", port, "--rest-port")  # before the token: it may be another's
    app = application(deployments, new_token(port), end)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(
        target=server.run, args=([sock],), name="heliostat-serve-rest", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
        sock.close()
        token_file(port).unlink(missing_ok=True)
