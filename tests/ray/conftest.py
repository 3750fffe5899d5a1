"""A cluster starts and ends processes when it likes, and Ray keeps descriptors: only its end counts."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heliostat.testing import leaks
from heliostat.testing.clock import until
from tests.ray import cluster


@pytest.fixture(autouse=True, scope="session")
def without_tokens() -> Iterator[None]:
    """No Ray here asks for the token of a user who has one: what a process has asked for once, it
    asks for ever, and of clusters that have none, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield


@pytest.fixture(autouse=True, scope="module")
def nothing_outlives_the_module() -> Iterator[None]:
    """No process of a cluster outlives the module that has started it."""
    before = leaks.take_census().processes
    yield
    until(lambda: leaks.take_census().processes.keys() <= before.keys(), "the cluster is gone", 30)


@pytest.fixture(autouse=True)
def nothing_outlives_the_test() -> None:
    """Not looked at: see above."""


@pytest.fixture
def without_heliostat(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A node whose workers cannot import us, not even if they are given us or until they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent / "hidden"), prepend=os.pathsep)
        patch.setenv("HELIOSTAT_HIDDEN", request.param)
        with cluster.nodes({}) as nodes:
            yield nodes
