"""Names of Ray's `ray.util.client_connect`: `connect` and `disconnect`, as Ray Client has them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import heliostat as ray
from heliostat.client_builder import as_url

__all__ = ["connect", "disconnect"]


def connect(
    conn_str: str,
    secure: bool = False,
    metadata: Any = None,
    connection_retries: int = 3,
    job_config: Any = None,
    namespace: str | None = None,
    *,
    ignore_version: bool = False,
    ray_init_kwargs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Begin a session on a Ray cluster; `init(address="ray://...")` says the same in one word.

    Args:
        conn_str: "host:port" of its client server.
        secure, metadata, job_config: Not offered.
        connection_retries: Not offered but as 3: it is tried until Ray gives up.
        namespace: Where named actors are found.
        ignore_version: Not offered.
        ray_init_kwargs: More arguments of `init`.

    Returns:
        The versions of Python and of Heliostat.

    Raises:
        NotImplementedError: For an argument that is not offered.
        RuntimeError: If there is a session.
        ConnectionError, ImportError: If no cluster is there, or no Ray that fits it.
    """
    for name, value, usual in (
        ("secure", secure, False), ("metadata", metadata, None), ("job_config", job_config, None),
        ("connection_retries", connection_retries, 3), ("ignore_version", ignore_version, False),
    ):  # fmt: skip
        if value != usual:
            raise NotImplementedError(f"connect({name}={value!r}) is not offered; leave it out")
    ray.init(**{"address": as_url(conn_str), "namespace": namespace, **(ray_init_kwargs or {})})
    return {"python_version": platform.python_version(), "ray_version": ray.__version__}


def disconnect() -> None:
    """End the session; nothing happens without one."""
    ray.shutdown()
