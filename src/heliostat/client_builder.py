"""ClientBuilder: a session in three words, as programs for Ray Client begin one; Ray's `ray.client`.

There is no server in between here: without an address the session is this machine's own, and with
one it is that of `init(address="ray://...")`.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import heliostat as ray

__all__ = ["ClientBuilder", "ClientContext", "client"]


@dataclass(frozen=True)
class ClientContext:
    """A session that a builder has begun; a `with` over it ends it."""

    dashboard_url: str | None
    python_version: str
    ray_version: str

    def disconnect(self) -> None:
        """End the session."""
        ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.disconnect()


class ClientBuilder:
    """Collects what a session is to be, and begins it.

    Args:
        address: None or "local": this machine. "host:10001" or "ray://host:10001": a Ray cluster.

    Example:
        >>> import heliostat as ray
        >>> with ray.client().namespace("mine").connect():
        ...     ray.get_runtime_context().namespace
        'mine'
    """

    def __init__(self, address: str | None = None) -> None:
        self._options: dict[str, Any] = {}
        if address not in (None, "local"):
            self._options["address"] = as_url(str(address))

    def namespace(self, namespace: str) -> Self:
        """Where named actors are found.

        Args:
            namespace: Its name.

        Returns:
            This builder.
        """
        self._options["namespace"] = namespace
        return self

    def env(self, env: Mapping[str, Any]) -> Self:
        """What workers are born with.

        Args:
            env: As for `init(runtime_env=...)`.

        Returns:
            This builder.
        """
        self._options["runtime_env"] = env
        return self

    def connect(self) -> ClientContext:
        """Begin the session.

        Raises:
            RuntimeError: If there is one.
            ConnectionError, ImportError: If no cluster is there, or no Ray that fits it.
        """
        context = ray.init(**self._options)
        return ClientContext(
            context.dashboard_url or None, platform.python_version(), ray.__version__
        )


def as_url(address: str) -> str:
    """The address of a client server as `init` takes it.

    Args:
        address: With or without `ray://`.

    Example:
        >>> as_url("head:10001")
        'ray://head:10001'
    """
    return address if "://" in address else f"ray://{address}"


def client(address: str | None = None) -> ClientBuilder:
    """Begin to say what session is wanted; `.connect()` begins it.

    Args:
        address: As for `ClientBuilder`.

    Example:
        >>> import heliostat as ray
        >>> context = ray.client().connect()
        >>> ray.is_initialized()
        True
        >>> context.disconnect()
    """
    return ClientBuilder(address)
