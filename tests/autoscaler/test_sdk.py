"""What a program asks of an autoscaler is there, or is refused at once."""

import pytest

import heliostat as ray
from heliostat.autoscaler.sdk import request_resources


@pytest.fixture(autouse=True)
def session():
    ray.shutdown()
    ray.init(num_cpus=4, resources={"rack": 2}, engine="inline")
    yield
    ray.shutdown()


def test_what_the_session_has_is_granted_by_doing_nothing():
    request_resources(num_cpus=4)
    request_resources(bundles=[{"CPU": 2}, {"CPU": 2, "rack": 1}])
    request_resources()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"num_cpus": 5}, "5 CPU, and the session has 4"),
        ({"bundles": [{"rack": 1}, {"rack": 2}]}, "3 rack, and the session has 2"),
        ({"bundles": [{"GPU": 1}]}, "1 GPU, and the session has 0"),
        ({"num_cpus": -1}, "num_cpus must be >= 0"),
        ({"bundles": [{"CPU": -1}]}, "CPU must be >= 0"),
    ],
)
def test_what_it_has_not_is_refused(asked, said):
    with pytest.raises(ValueError, match=said):
        request_resources(**asked)


def test_label_selectors_are_refused_by_name():
    with pytest.raises(NotImplementedError, match="bundle_label_selectors"):
        request_resources(bundles=[{"CPU": 1}], bundle_label_selectors=[{"zone": "a"}])
