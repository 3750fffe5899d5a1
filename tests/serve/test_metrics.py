"""serve.metrics: the tags of where they are made."""

from __future__ import annotations

from typing import Any

import pytest

from heliostat.serve.context import ReplicaContext, set_local_replica_context
from heliostat.serve.metrics import Counter, Gauge, Histogram

MAKE: list[Any] = [
    lambda: Counter("c", tag_keys=("k",)),
    lambda: Gauge("g", tag_keys=("k",)),
    lambda: Histogram("h", boundaries=[1.0], tag_keys=("k",)),
]


@pytest.mark.parametrize("make", MAKE)
def test_in_a_replica_they_carry_its_names_whatever_else_is_set(make: Any):
    set_local_replica_context(ReplicaContext("app", "D", "D#1", None))
    try:
        made = make().set_default_tags({"k": "v"})
    finally:
        set_local_replica_context(None)
    tags = {"deployment": "D", "replica": "D#1", "application": "app", "k": "v"}
    assert made.info["default_tags"] == tags


@pytest.mark.parametrize("make", MAKE)
def test_in_the_driver_they_are_the_plain_ones(make: Any):
    assert make().info["tag_keys"] == ("k",)
