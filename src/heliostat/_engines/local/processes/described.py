"""Which environment a task of this process gets, as a key that the hub knows. Both ends use it.

A key stands for a `runtime_env`: the same one for equal ones, whoever asks. The hub hears what it
stands for before it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from heliostat._engines.local.messages import Described

if TYPE_CHECKING:
    from heliostat._core.runtime_env import RuntimeEnv

_MOST = 256  # remembered; programs that use more describe some of them twice


class Port(Protocol):
    """How the hub is told."""

    proc: int

    def post(self, event: Any) -> object:
        """Tell it."""


class Environments:
    """The environments that this process has asked for, and its own."""

    def __init__(self, port: Port) -> None:
        self.own = b""  # the key of what this process runs in; empty: nothing special
        self._port = port
        self._text, self._hook = "{}", b""
        self._keys: dict[int, tuple[RuntimeEnv, bytes]] = {}

    def inherit(self, key: bytes, text: str, hook: bytes) -> None:
        """This process runs in that environment."""
        self.own, self._text, self._hook = key, text, hook

    def described(self) -> str:
        """The environment of this process as JSON."""
        return self._text

    def key(self, env: RuntimeEnv) -> bytes:
        """The key of what a task gets that asks for `env` here."""
        known = self._keys.get(id(env))
        if known is not None:
            return known[1]
        key = self.describe(env)
        if len(self._keys) >= _MOST:
            self._keys.clear()
        self._keys[id(env)] = env, key  # kept, so that its identity stays its own
        return key

    def describe(self, env: RuntimeEnv) -> bytes:
        """Tell the hub what a task gets that asks for `env` here."""
        import json  # noqa: PLC0415 - most programs have none
        from _blake2 import blake2b  # noqa: PLC0415 - hashlib would load OpenSSL

        from heliostat._core import runtime_env  # noqa: PLC0415 - most programs have none

        both = runtime_env.merged(json.loads(self._text), env)
        text, hook = runtime_env.describe(both)
        if "worker_process_setup_hook" not in env:
            hook = self._hook
        if text == "{}":
            return b""
        setup = {name: value for name, value in json.loads(text).items() if name != "config"}
        named = json.dumps(setup, sort_keys=True).encode()
        key: bytes = blake2b(named + b"\0" + hook, digest_size=12).digest()
        self._port.post(Described(self._port.proc, key, text, hook, runtime_env.at_once(both)))
        return key
