import pytest

import heliostat
from heliostat.train import RunConfig


@pytest.fixture
def inline():
    """A session in this process."""
    heliostat.init(engine="inline", num_cpus=4, num_gpus=0)
    yield
    heliostat.shutdown()


@pytest.fixture
def run_config(tmp_path):
    """A RunConfig that writes to a directory of the test's own and shows nothing."""

    def make(**options):
        return RunConfig(storage_path=tmp_path, verbose=0, **options)

    return make
