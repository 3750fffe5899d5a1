"""Where a session runs: which engine, and for Ray's which cluster. Knows no engine.

Arguments of `init` come before the environment: HELIOSTAT_ENGINE, and HELIOSTAT_ADDRESS, which alone
is enough to send a program to a cluster.
"""

import os
from collections.abc import Collection


def where(
    address: object, engine: str | None, *, local_mode: bool, known: Collection[str]
) -> tuple[str, str]:
    """The engine's name, and the address of a cluster; no address where the engine has no cluster.

    Args:
        address: As `init` was given it.
        engine: As `init` was given it.
        local_mode: As `init` was given it.
        known: The names of the engines.

    Raises:
        TypeError: If the address is no string.
        ValueError: For an engine that is not known, or that has no clusters.

    Example:
        >>> where("auto", None, local_mode=False, known=["local", "ray"])
        ('ray', 'auto')
    """
    if not isinstance(address, (str, type(None))):
        raise TypeError(f"address must be a string or None, got {address!r}")
    cluster = is_cluster(address or "")
    place = address or os.environ.get("HELIOSTAT_ADDRESS", "")
    usual = "ray" if is_cluster(place) else "local"
    if not cluster:
        usual = os.environ.get("HELIOSTAT_ENGINE") or usual
    name = "inline" if local_mode else engine or usual
    if name not in known:
        raise ValueError(f"engine={name!r} is not one of {', '.join(known)}")
    if cluster and name != "ray":
        raise ValueError(
            f"address={address!r} is that of a Ray cluster, and the {name} engine runs on this "
            "machine; leave one of the two out"
        )
    return name, place if name == "ray" else ""


def is_cluster(address: str) -> bool:
    """Whether an address is that of a cluster, and not of this machine alone."""
    return address not in ("", "local")
