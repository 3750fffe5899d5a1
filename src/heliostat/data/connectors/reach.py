"""Whether a store beyond this machine answers at all: asked before anything is tried again.

The clients of stores try for minutes, which is right for one that falters and says nothing to
somebody without a network.
"""

import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pyarrow import fs

__all__ = ["require_azure", "require_gcs", "require_http", "require_s3"]

PATIENCE_S = 5
FIRST_DELAY_S = 0.25
# The numbers of curl for: no such proxy, no such host, no connection, no answer in time.
_NO_CONNECTION = re.compile(r"(?:curlCode: |CURL error \[)(?:5|6|7|28)\b")
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
# Of this process; one that has answered is asked no more.
_answered: set[str] = set()


def require_s3(bucket: str, query: Mapping[str, Any]) -> None:
    """Ask S3, or what speaks like it, for a bucket.

    Args:
        bucket: Its name.
        query: What Arrow's client is made with.

    Raises:
        ConnectionError: if nothing answers.
    """
    amazons = f"{bucket}.s3.{query.get('region', 'us-east-1')}.amazonaws.com"
    endpoint = query.get("endpoint_override", amazons)

    def ask() -> None:
        once: Any = fs.AwsStandardS3RetryStrategy(max_attempts=1)
        client = fs.S3FileSystem(retry_strategy=once, connect_timeout=PATIENCE_S, **query)
        client.get_file_info(bucket)

    said = "say which in the URI, as in s3://bucket/key?endpoint_override=host%3A9000&scheme=http"
    _require(ask, str(endpoint), f"if it is another store than Amazon's, {said}")


def require_gcs(uri: str) -> None:
    """Connect to Google's store, or what speaks like it; its client tries for long.

    Args:
        uri: `gs://...`.

    Raises:
        ConnectionError: if nothing answers.
    """
    query = dict(parse_qsl(urlsplit(uri).query))
    if "retry_limit_seconds" in query:
        return  # the user has said how long to wait

    if any(map(os.environ.get, _PROXIES)):
        return
    host, _, port = query.get("endpoint_override", "storage.googleapis.com").partition(":")
    usual = 80 if query.get("scheme") == "http" else 443
    said = "say how long to try, as in gs://bucket/key?retry_limit_seconds=60"
    _connect(host, int(port or usual), f"if it needs longer, {said}")


def require_http(url: str) -> None:
    """Connect to where a URL points.

    Args:
        url: `http://...` or `https://...`.

    Raises:
        ConnectionError: if nothing answers.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    said = "give filesystem=fsspec.filesystem('http', client_kwargs={'trust_env': True})"
    _connect(parts.hostname or "", port, f"behind a proxy, {said}")


def require_azure(uri: str) -> None:
    """Connect to the account of Azure's store that a URI names; its client tries for long.

    Args:
        uri: `abfs://...` or `abfss://...`.

    Raises:
        ConnectionError: if nothing answers.
    """
    parts = urlsplit(uri)
    host = parts.hostname or ""
    if "." not in host:
        return  # a container, of an account that the client learns elsewhere
    if any(map(os.environ.get, _PROXIES)):
        return
    _connect(host, parts.port or 443, "the URI names the account, as in abfs://container@account."
             "dfs.core.windows.net/path")  # fmt: skip


def _connect(host: str, port: int, remedy: str) -> None:
    """Once a process, as the client itself says nothing of use, or only after long."""
    if f"{host}:{port}" in _answered:
        return
    try:
        socket.create_connection((host, port), PATIENCE_S).close()
    except OSError as error:
        raise _no_answer(f"{host}:{port}", remedy) from error
    _answered.add(f"{host}:{port}")


def _require(ask: Callable[[], object], endpoint: str, remedy: str) -> None:
    started, delay = time.monotonic(), FIRST_DELAY_S
    while endpoint not in _answered:
        try:
            ask()
        except OSError as error:
            if _is_answer(error):
                break  # and what it says is for who reads
            if time.monotonic() - started + delay > PATIENCE_S:
                raise _no_answer(endpoint, remedy) from error
        else:
            break
        time.sleep(delay)
        delay *= 2
    _answered.add(endpoint)


def _is_answer(error: OSError) -> bool:
    return _NO_CONNECTION.search(str(error)) is None


def _no_answer(endpoint: str, remedy: str) -> ConnectionError:
    return ConnectionError(
        f"nothing answers at {endpoint}: see whether this machine has a network and finds that "
        f"name; {remedy}"
    )
