"""Who is let in: a request's Host, Origin and secret are looked at, whatever it asks for. Pure.

The secret comes in the URL that the program prints; the answer keeps it in a cookie that scripts
cannot read and other sites cannot use. Programs send it as `Authorization: Bearer`.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

Entry = Literal["refused", "by link", "known"]

NAMES = ("127.0.0.1", "localhost", "[::1]")


class Door(NamedTuple):
    """What is asked of whoever comes: the port they mean, and the secret."""

    port: int
    token: str

    @property
    def cookie(self) -> str:
        """Its name; cookies are the same for all ports of a host."""
        return f"heliostat-{self.port}"


class Verdict(NamedTuple):
    """Whether a request is let in, and why not."""

    entry: Entry
    reason: str = ""


def judge(door: Door, target: str, headers: Mapping[str, str]) -> Verdict:
    """Look at a request of any method for any path.

    Args:
        door: What is asked.
        target: What stands in the request's first line.
        headers: Its headers, with names as they came.

    Example:
        >>> door = Door(80, "secret")
        >>> judge(door, "/?token=secret", {"Host": "localhost:80"})
        Verdict(entry='by link', reason='')
        >>> judge(door, "/", {"Host": "evil.example"}).entry
        'refused'
    """
    own = {name.lower(): value for name, value in headers.items()}
    hosts = {f"{name}:{door.port}" for name in NAMES}
    host = own.get("host", "").lower()
    if host not in hosts:
        return Verdict("refused", "the Host header is not this machine's loopback address")
    origin = own.get("origin")
    if origin is not None and origin.lower() != f"http://{host}":
        return Verdict("refused", "the request comes from another site")
    if own.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        link = own.get("sec-fetch-mode") == "navigate" and "token=" in target
        if not link:  # a link in a notebook's page, say, may be followed; it has the secret
            return Verdict("refused", "the request comes from another site")
    if any(_same(given, door.token) for given in _given(door, own)):
        return Verdict("known")
    asked = parse_qs(urlsplit(target).query).get("token", [])
    if any(_same(given, door.token) for given in asked):
        return Verdict("by link")
    return Verdict("refused", "open the URL that the program has printed: it has the secret in it")


def _given(door: Door, own: Mapping[str, str]) -> list[str]:
    given = [own.get("authorization", "").removeprefix("Bearer ")]
    try:
        morsel = SimpleCookie(own.get("cookie", "")).get(door.cookie)
    except CookieError:
        return given
    return given if morsel is None else [*given, morsel.value]


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
