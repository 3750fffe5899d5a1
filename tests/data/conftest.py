import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

import heliostat

# Arrow's reader of CSV keeps a pipe for signals from its first use on: that is no leak of a test.
csv.read_csv(io.BytesIO(b"a\n1\n"))


@pytest.fixture
def inline(monkeypatch):
    """A session in this process, without progress."""
    monkeypatch.setenv("HELIOSTAT_PROGRESS", "0")
    heliostat.shutdown()
    heliostat.init(engine="inline", num_cpus=4)
    yield
    heliostat.shutdown()


@pytest.fixture
def trips():
    """A hundred rows of every common kind."""
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "id": np.arange(100),
            "fare": rng.random(100),
            "paid": rng.random(100) > 0.5,
            "zone": [f"zone {number % 7}" for number in range(100)],
        }
    )


@pytest.fixture
def parquet(tmp_path, trips):
    """The same rows in a file of five row groups."""
    path = tmp_path / "trips.parquet"
    pq.write_table(trips, path, row_group_size=20)
    return str(path)
