"""Small things that all processes of a session can look up, by kind and number, in the head node."""

from __future__ import annotations

from typing import Any

from heliostat._engines.ray import theirs

_NAMESPACE = b"heliostat"
_mine: set[bytes] = set()


def _table() -> Any:
    return theirs.module("experimental.internal_kv")


def _key(kind: str, id_: bytes) -> bytes:
    return f"{kind}:{id_.hex()}".encode()


def put(kind: str, id_: bytes, value: bytes, *, forever: bool = False) -> None:
    """Keep it; `forever` also when this process has left the session."""
    key = _key(kind, id_)
    _table()._internal_kv_put(key, value, overwrite=True, namespace=_NAMESPACE)
    if not forever:
        _mine.add(key)


def get(kind: str, id_: bytes) -> bytes | None:
    """What is kept under the number, if anything."""
    found: bytes | None = _table()._internal_kv_get(_key(kind, id_), namespace=_NAMESPACE)
    return found


def all_of(kind: str) -> dict[bytes, bytes]:
    """Everything of a kind, by number."""
    prefix = f"{kind}:".encode()
    keys = _table()._internal_kv_list(prefix, namespace=_NAMESPACE)
    return {
        bytes.fromhex(key.removeprefix(prefix).decode()): value
        for key in keys
        if (value := _table()._internal_kv_get(key, namespace=_NAMESPACE)) is not None
    }


def take_away() -> None:
    """Remove what this process has put there."""
    while _mine:
        _table()._internal_kv_del(_mine.pop(), namespace=_NAMESPACE)
