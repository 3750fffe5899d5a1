import numpy as np
import pyarrow as pa
import pytest


def taxi(rows, seed=0):
    """Trips whose label depends on two of four columns."""
    rng = np.random.default_rng(seed)
    distance, hour = rng.gamma(2.0, 1.6, rows), rng.integers(0, 24, rows)
    return pa.table({
        "distance": distance,
        "hour": hour,
        "weekend": rng.random(rows) < 0.3,
        "passengers": pa.array(rng.integers(1, 7, rows), mask=rng.random(rows) < 0.1),
        "tip": (distance > 3) ^ (hour > 20),
    })  # fmt: skip


@pytest.fixture
def table():
    return taxi(1000)
