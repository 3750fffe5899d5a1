"""Resources of a trial: in every form in which users give them, and their sum."""

import pytest

from heliostat.train import ScalingConfig
from heliostat.tune._resources import PlacementGroupFactory, as_request, parse_resources

ENGINE = None


def test_bundles_sum_up_under_the_names_that_the_cluster_has():
    request = PlacementGroupFactory([{"cpu": 1}, {"CPU": 2, "gpu": 0.5}, {}])
    assert request.required_resources == {"CPU": 3, "GPU": 0.5}


def test_a_dict_is_one_bundle_and_what_workers_need_is_the_second():
    assert as_request({"cpu": 2}) == PlacementGroupFactory([{"CPU": 2}])
    assert as_request(ScalingConfig(num_workers=2)).bundles == [{}, {"CPU": 2}]


@pytest.mark.parametrize("amount", [-1, "1", True, float("nan")])
def test_an_amount_that_is_none_is_refused_by_name(amount):
    with pytest.raises(ValueError, match=r"resources\['cpu'\] must be a number >= 0"):
        parse_resources({"cpu": amount})


def test_the_head_is_the_first_bundle():
    assert PlacementGroupFactory([{"CPU": 2}, {"CPU": 1}]).head_cpus == 2
    assert PlacementGroupFactory([{"GPU": 1}]).head_cpus == 0
