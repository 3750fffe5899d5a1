"""Whether an object store can be reached at all, asked with a client of it that soon gives up.

The client that runs use is patient: it takes a store that has no time, or a connection that breaks,
for what passes, and would go on for minutes where there is nobody. This file stores nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pyarrow import fs

# Three requests: at most so long for a connection, and so long without a byte.
CONNECT_S = 5.0
SILENCE_S = 6.0
ATTEMPTS = 3
GIVE_UP_S = 15.0


def check_reachable(root: str, filesystem: Any) -> None:
    """Look for the bucket once. Whatever the store answers is good: it is there.

    Args:
        root: A path in it.
        filesystem: The store; one that is neither S3 nor GCS is not asked.

    Raises:
        ConnectionError: If nobody answers; the address is named.
    """
    client = _hasty(filesystem)
    if client is None:
        return
    try:
        client.get_file_info(root.partition("/")[0])
    except OSError as error:
        if "NETWORK_CONNECTION" in str(error) or "UNAVAILABLE" in str(error):
            raise ConnectionError(
                f"storage_path={root!r}: nobody answers at {_address(filesystem)} ({error}). Look at "
                "the address (endpoint_override, AWS_ENDPOINT_URL), the network and proxies, or use a "
                "local directory"
            ) from error


def _options(filesystem: Any) -> dict[str, Any]:
    """What the client was made with; Arrow has no other way to tell."""
    options: dict[str, Any] = filesystem.__reduce__()[1][0]
    return options


def _hasty(filesystem: Any) -> Any:
    """The same client with little patience."""
    store_s3, store_gcs = getattr(fs, "S3FileSystem", ()), getattr(fs, "GcsFileSystem", ())
    if isinstance(filesystem, store_s3):
        retries: Any = fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
        options = {
            **_options(filesystem),
            "connect_timeout": CONNECT_S,
            "request_timeout": SILENCE_S,
        }
        return fs.S3FileSystem(**options, retry_strategy=retries)
    if isinstance(filesystem, store_gcs):
        options = {**_options(filesystem), "retry_time_limit": timedelta(seconds=GIVE_UP_S)}
        return type(filesystem)._reconstruct(options)
    return None


def _address(filesystem: Any) -> str:
    options = _options(filesystem)
    where = (
        options.get("endpoint_override") or f"{filesystem.type_name} {options.get('region', '')}"
    )
    return str(where).strip()
