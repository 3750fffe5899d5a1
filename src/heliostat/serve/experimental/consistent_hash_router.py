"""ConsistentHashRouter: requests of one session stay on one replica, as long as it lives."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from typing import Any

from heliostat.serve._checks import whole
from heliostat.serve.request_router import (
    FIFOMixin,
    PendingRequest,
    RequestRouter,
    RunningReplica,
)

_VIRTUAL_NODES = 100  # points on the ring for each replica
_FALLBACKS = 2


class ConsistentHashRouter(FIFOMixin, RequestRouter):
    """Hashes a request's session (`handle.options(session_id=...)`) onto a ring of replicas.

    A replica that comes or goes moves only the sessions next to it. Requests without a session
    are spread by their own id. When the replica is busy, the next on the ring have the request.

    `request_router_kwargs`: `num_virtual_nodes`, points on the ring for each replica, and
    `num_fallback_replicas`, how many others may have a request.

    Example:
        >>> from heliostat import serve
        >>> from heliostat.serve.config import RequestRouterConfig
        >>> from heliostat.serve.experimental.consistent_hash_router import ConsistentHashRouter
        >>> @serve.deployment(request_router_config=RequestRouterConfig(ConsistentHashRouter))
        ... class Chat: ...
    """

    def initialize_state(self, **kwargs: Any) -> None:
        """Called once, with `request_router_kwargs`.

        Raises:
            TypeError: For what is no int, and others than these two.
            ValueError: For fewer points than 1, or others than 0.
        """
        options = {
            "num_virtual_nodes": _VIRTUAL_NODES,
            "num_fallback_replicas": _FALLBACKS,
            **kwargs,
        }
        self._points_each = options.pop("num_virtual_nodes")
        self._fallbacks = options.pop("num_fallback_replicas")
        if options:
            raise TypeError(f"ConsistentHashRouter takes no {sorted(options)}")
        whole("num_virtual_nodes", self._points_each, 1)
        whole("num_fallback_replicas", self._fallbacks, 0)
        self._names: tuple[str, ...] = ()
        self._ring: list[tuple[int, str]] = []

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """The replica of the session, then those behind it on the ring."""
        by_name = {r.replica_id.unique_id: r for r in candidate_replicas}
        self._place(tuple(sorted(by_name)))
        key = ""
        if pending_request is not None:
            metadata = pending_request.metadata
            key = metadata.session_id or metadata.internal_request_id
        start = bisect_left(self._ring, (_hash(key), ""))
        behind = (name for _, name in [*self._ring[start:], *self._ring[:start]])
        names = list(dict.fromkeys(behind))[: self._fallbacks + 1]
        return [[by_name[name]] for name in names]

    def _place(self, names: tuple[str, ...]) -> None:
        if names != self._names:
            self._names = names
            each = range(self._points_each)
            self._ring = sorted((_hash(f"{name} {n}"), name) for name in names for n in each)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
