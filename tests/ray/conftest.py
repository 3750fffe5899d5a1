"""A cluster starts and ends processes when it likes, and Ray keeps descriptors: only its end counts."""

from collections.abc import Iterator

import pytest

from heliostat.testing import leaks
from heliostat.testing.clock import until


@pytest.fixture(autouse=True, scope="module")
def nothing_outlives_the_module() -> Iterator[None]:
    """No process of a cluster outlives the module that has started it."""
    before = leaks.take_census().processes
    yield
    until(lambda: leaks.take_census().processes.keys() <= before.keys(), "the cluster is gone", 30)


@pytest.fixture(autouse=True)
def nothing_outlives_the_test() -> None:
    """Not looked at: see above."""
