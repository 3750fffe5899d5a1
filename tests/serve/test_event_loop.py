"""Replicas run on uvloop, without which nobody notices anything but the time."""

from __future__ import annotations

import asyncio
import importlib
import sys

from heliostat import serve
from heliostat.serve import _event_loop


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class Loops:
    async def __call__(self) -> str:
        return type(asyncio.get_running_loop()).__module__


def test_replicas_run_on_uvloop(client):
    assert serve.run(Loops.bind(), name="loops").remote().result() == "uvloop"
    assert client.get("/").text == "uvloop"


def test_without_uvloop_it_is_asyncios(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "uvloop", None)
        importlib.reload(_event_loop)
        assert _event_loop.new_event_loop is asyncio.new_event_loop
    importlib.reload(_event_loop)
    assert _event_loop.new_event_loop.__module__ == "uvloop"
