from collections.abc import Iterator

import pytest

import heliostat as ray


@pytest.fixture(scope="module")
def local() -> Iterator[None]:
    """One session of real processes for the tests of a file."""
    ray.init(num_cpus=2)
    yield
    ray.shutdown()
