"""What sets a new worker apart from its siblings: variables, directory, import path, setup hook."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from collections.abc import Mapping
from typing import Any, TypedDict


class Birth(TypedDict, total=False):
    """What a worker of an environment is born with; marshal can carry it.

    Attributes:
        key: The key of the environment.
        text: The environment as JSON.
        variables: Environment variables.
        folder: Where it begins; empty: where the driver began.
        paths: Where it imports from first.
        hook: What to call before its first task, pickled.
        hook_name: The same as "package.module.function". Both may be empty.
    """

    key: bytes
    text: str
    variables: dict[str, str]
    folder: str
    paths: list[str]
    hook: bytes
    hook_name: str


def be_born(birth: Mapping[str, Any]) -> None:
    """In the new process, before anything else of the user's is there."""
    if not birth:
        return
    os.environ.update(birth["variables"])
    if birth["folder"]:
        os.chdir(birth["folder"])
    sys.path[:0] = birth["paths"]


def call_hook(birth: Mapping[str, Any]) -> None:
    """Call the setup hook, if there is one; whatever it raises is raised here."""
    if birth["hook"]:
        pickle.loads(birth["hook"])()
    elif birth["hook_name"]:
        module, _, function = birth["hook_name"].rpartition(".")
        getattr(importlib.import_module(module), function)()
