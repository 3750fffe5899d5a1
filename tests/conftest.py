"""Nothing outlives a test: no process, no shared memory, no descriptor."""

from collections.abc import Iterator

import pytest

import heliostat
from heliostat.testing import leaks

leaks.mark()


@pytest.fixture(autouse=True, scope="module")
def nothing_outlives_the_module() -> Iterator[None]:
    """Sessions that tests of a module share must end cleanly with it."""
    before = None if heliostat.is_initialized() else leaks.take_census()
    yield
    if before is not None and not heliostat.is_initialized():
        leaks.expect_nothing_new(before)


@pytest.fixture(autouse=True)
def nothing_outlives_the_test() -> Iterator[None]:
    """A session that a test starts and ends itself must leave nothing behind."""
    before = None if heliostat.is_initialized() else leaks.take_census()
    yield
    if before is not None and not heliostat.is_initialized():
        leaks.expect_nothing_new(before)
