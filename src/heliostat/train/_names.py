"""Names that become paths: run names and checkpoint directory names."""

from __future__ import annotations

MAX_BYTES = 255


def check_name(what: str, name: object) -> str:
    """`name` if it can safely be one directory's name.

    Raises:
        TypeError: If it is not text.
        ValueError: If it is empty, hidden, too long, or could lead out of its directory.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string, got {name!r} of type {type(name).__name__}")
    if not name or name.startswith(".") or name != name.strip():
        raise ValueError(
            f"{what} must not be empty, start with a dot or have outer spaces: {name!r}"
        )
    if any(c in "/\\" or not c.isprintable() for c in name):
        raise ValueError(f"{what} must be one directory name without / or \\: {name!r}")
    if len(name.encode()) > MAX_BYTES:
        raise ValueError(f"{what} is longer than {MAX_BYTES} bytes: {name[:40]!r}...")
    return name
