import numpy as np
import pyarrow as pa
import pytest

from heliostat.train import RunConfig


def taxi(rows, seed=0):
    """Trips whose label depends on two of three columns."""
    rng = np.random.default_rng(seed)
    distance, hour = rng.gamma(2.0, 1.6, rows), rng.integers(0, 24, rows)
    return pa.table({
        "distance": distance,
        "hour": hour,
        "passengers": pa.array(rng.integers(1, 7, rows), mask=rng.random(rows) < 0.1),
        "tip": (distance > 3) ^ (hour > 20),
    })  # fmt: skip


@pytest.fixture(scope="session")
def table():
    return taxi(2000)


@pytest.fixture(scope="session")
def valid_table():
    return taxi(600, seed=1)


@pytest.fixture
def run_config(tmp_path):
    """A RunConfig that writes to a directory of the test's own and shows nothing."""

    def make(**options):
        return RunConfig(storage_path=tmp_path, verbose=0, **options)

    return make
