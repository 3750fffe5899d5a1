"""Workers that lack Heliostat are given it by the session that needs it."""

import pytest

import heliostat as ray

pytest.importorskip("ray.cluster_utils")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about itself
]


@pytest.mark.parametrize("without_heliostat", ["installed"], indirect=True)
def test_workers_that_lack_heliostat_are_given_ours(without_heliostat):
    @ray.remote
    def where():
        return ray.__file__

    ray.init(without_heliostat.address, log_to_driver=False)
    assert "py_modules_files" in ray.get(where.remote(), timeout=60)
    ray.shutdown()
