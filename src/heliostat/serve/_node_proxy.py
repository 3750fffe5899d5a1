"""NodeProxy: owns the port on another machine of a cluster, and forwards each request from there.

The controller owns the port of its machine, where connections go to the replicas themselves.
`NodeProxies` has a proxy on every other machine, and tells them the routes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import heliostat as ray
from heliostat.serve import _logs
from heliostat.serve._acceptor import Acceptor, listen
from heliostat.serve._connections import Connections, whereabouts
from heliostat.serve._proxy import Proxy, Route
from heliostat.serve._replica import forward
from heliostat.serve.logging_config import LoggingConfig
from heliostat.serve.schema import ProxyStatus
from heliostat.serve.server_options import HTTPOptions, ProxyLocation, TracingConfig
from heliostat.util.scheduling_strategies import NodeAffinitySchedulingStrategy

logger = logging.getLogger("heliostat.serve")

_LOOK_S = 2.0  # so often nodes are looked for
_ANSWER_S = 20.0  # a proxy that is silent for so long is gone


def proxy_of(http: HTTPOptions, tracing: TracingConfig | None) -> tuple[Proxy, Callable[[], None]]:
    """A proxy that forwards all, not ready yet; and what ends its tracing."""
    proxy = Proxy(forward, http)
    proxy.is_ready = False
    if tracing is None:
        return proxy, lambda: None
    from heliostat.serve._tracing import install  # noqa: PLC0415 - with OpenTelemetry only

    installed = install(tracing)
    proxy.trace(installed.named("proxy_http_request", {}))
    return proxy, installed.close


def acceptor_of(
    proxy: Proxy, http: HTTPOptions, on_waiting: Callable[[str, int], None] | None = None
) -> Acceptor:
    """What listens for a proxy; a PortTakenError when somebody else has the port."""
    return Acceptor(
        listen(http.host or "", http.port),
        Connections(proxy, http.keep_alive_timeout_s, http.tls()),
        http.keep_alive_timeout_s,
        on_waiting,
        reads_first_line=http.ssl_certfile is None,
    )


def url_of(acceptor: Acceptor, http: HTTPOptions) -> str:
    """Where it listens."""
    host, port = acceptor.address
    scheme = "http" if http.ssl_certfile is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@dataclass(eq=False)
class NodeProxy:
    """The proxy of one machine; an actor with `async` methods only."""

    http: HTTPOptions
    logging_config: LoggingConfig | None
    tracing: TracingConfig | None
    _acceptor: Acceptor | None = None

    async def start(self, owner: str) -> str:
        """Listen; where, or nothing on the machine whose port the owner has already."""
        if self.http.port and owner == whereabouts():
            return ""
        _logs.install(self.logging_config, {"component_name": "proxy"})
        self._proxy, self._end_tracing = proxy_of(self.http, self.tracing)
        self._acceptor = acceptor_of(self._proxy, self.http)
        return url_of(self._acceptor, self.http)

    async def tell(self, routes: list[Route], *, is_ready: bool) -> None:
        """The routes there are now, and whether the applications run."""
        self._proxy.is_ready = is_ready
        self._proxy.set_routes(routes)
        if self._acceptor is not None:
            self._acceptor.update(routes, {})

    async def stop(self) -> None:
        """Free the port."""
        if self._acceptor is not None:
            self._acceptor.close()
            await asyncio.to_thread(self._end_tracing)


def are_wanted(http: HTTPOptions) -> bool:
    """Whether there are other machines, and the port shall be on them, too."""
    return http.location in (None, ProxyLocation.EveryNode) and len(ray.nodes()) > 1


class NodeProxies:
    """The proxies of all machines but this one; they listen and write as the controller does."""

    def __init__(
        self, http: HTTPOptions, logging_config: LoggingConfig | None, tracing: TracingConfig | None
    ) -> None:
        self._options = (http, logging_config, tracing)
        self._here = ray.get_runtime_context().get_node_id()
        self._actors: dict[str, Any] = {}
        self._told: tuple[list[Route], bool] = ([], False)
        self.urls: dict[str, str] = {}
        self.statuses: dict[str, ProxyStatus] = {}

    async def keep(self) -> None:
        """Have one on each machine, for ever."""
        while True:
            nodes = await asyncio.to_thread(ray.nodes)
            there = {node["NodeID"] for node in nodes if node["Alive"]} - {self._here}
            for node in self.statuses.keys() - there:
                self._forget(node)
            await asyncio.gather(*(self._look_after(node) for node in there))
            await asyncio.sleep(_LOOK_S)

    def tell(self, routes: list[Route], *, is_ready: bool) -> None:
        """Let all know the routes, and whether the applications run."""
        if (routes, is_ready) != self._told:
            self._told = (routes, is_ready)
            for node in self.urls:
                self._tell(node)

    async def stop(self) -> None:
        """Free their ports."""
        ends = [actor.stop.remote() for actor in self._actors.values()]
        await asyncio.gather(*ends, return_exceptions=True)
        for node in list(self.statuses):
            self._forget(node)

    async def _look_after(self, node: str) -> None:
        try:
            if node not in self.statuses:
                await self._begin(node)
            elif node in self._actors:
                await asyncio.wait_for(self._tell(node), _ANSWER_S)
        except Exception as error:  # noqa: BLE001 - the others go on without it
            logger.warning("node %s has no proxy: %s", node, error)
            failed = {} if node in self.urls else {node: ProxyStatus.UNHEALTHY}
            self._forget(node)  # and another is begun, unless this one could not begin
            self.statuses |= failed

    async def _begin(self, node: str) -> None:
        self.statuses[node] = ProxyStatus.STARTING
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        many = {"num_cpus": 0, "max_concurrency": 100_000}
        make = ray.remote(NodeProxy).options(**many, scheduling_strategy=there)
        actor: Any = make.remote(*self._options)
        url = await actor.start.remote(whereabouts())
        self.statuses[node] = ProxyStatus.HEALTHY
        if url:
            self._actors[node], self.urls[node] = actor, url
            await self._tell(node)

    def _tell(self, node: str) -> Any:
        routes, is_ready = self._told
        return self._actors[node].tell.remote(routes, is_ready=is_ready)

    def _forget(self, node: str) -> None:
        self.statuses.pop(node, None)
        self.urls.pop(node, None)
        if (actor := self._actors.pop(node, None)) is not None:
            ray.kill(actor)
