"""`runtime_env` in Ray's words: local files are given to the cluster, and what brings Heliostat stays."""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from heliostat._engines.ray import theirs

# Ray knows these for a whole session only.
_OF_SESSIONS = ("worker_process_setup_hook",)


def of_the_session(env: Mapping[str, Any]) -> dict[str, Any]:
    """The environment that `ray.init` is given: it uploads what is local."""
    return {key: value for key, value in env.items() if value not in (None, {}, [])}


def shipping(env: Mapping[str, Any], packages: Sequence[str]) -> dict[str, Any]:
    """The environment with packages of ours for workers that lack them."""
    modules = [importlib.import_module(name).__path__[0] for name in packages]
    return {**env, "py_modules": [*env.get("py_modules", ()), *modules]}


def of_a_task(env: Mapping[str, Any], packages: Sequence[str]) -> dict[str, Any]:
    """The environment of a task or actor: what is local in it is uploaded here."""
    for key in _OF_SESSIONS:
        if env.get(key) is not None:
            raise NotImplementedError(
                f"runtime_env[{key!r}] of a task or actor: a Ray cluster has it for a whole session "
                f"only; give it to init(runtime_env={{{key!r}: ...}})"
            )
    wanted = of_the_session(env)
    if wanted.get("py_modules"):
        wanted = shipping(wanted, packages)
    with tempfile.TemporaryDirectory(prefix="heliostat-") as folder:
        for what in ("working_dir", "py_modules"):
            module = theirs.module(f"_private.runtime_env.{what}")
            upload = getattr(module, f"upload_{what}_if_needed")
            wanted = upload(wanted, include_gitignore=True, scratch_dir=folder)
    return {key: value for key, value in wanted.items() if key != "excludes"}


def described(env: Mapping[str, Any]) -> str:
    """Ray's environment of this process as ours, in JSON."""
    known = {key: value for key, value in env.items() if not key.startswith("_")}
    return json.dumps(known, sort_keys=True, default=str)
