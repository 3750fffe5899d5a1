"""Arithmetic about TPUs."""

import pytest

from heliostat.util import tpu
from heliostat.util.tpu._topology import check_topology, chips_of, pod_type, size_of_pod


@pytest.mark.parametrize(
    ("name", "version"),
    [("TPU-V6E", "v6e"), ("tpu7x", "v7x"), ("v5litepod", "v5litepod"), ("TPU-v4", "v4")],
)
def test_a_generation_is_known_by_all_its_names(name, version):
    assert tpu.get_tpu_version_from_type(name) == version


@pytest.mark.parametrize("name", ["TPU-V1", "", "A100", "v6"])
def test_what_is_no_generation_is_refused(name):
    with pytest.raises(ValueError, match="Invalid accelerator_type"):
        tpu.get_tpu_version_from_type(name)


@pytest.mark.parametrize("topology", ["", "4", "4x", "4xa", "x4", "-1x4"])
def test_what_is_no_topology_is_refused(topology):
    with pytest.raises(ValueError, match="numbers with an x"):
        chips_of(topology)


@pytest.mark.parametrize(
    ("topology", "version"),
    [("4x4", "v6e"), ("2x2x1", "v4"), ("4x8x12", "v4"), ("16x16x24", "v5p")],
)
def test_a_grid_that_a_generation_is_made_in_passes(topology, version):
    check_topology(topology, version)


@pytest.mark.parametrize(
    ("topology", "version"), [("4x4x4", "v6e"), ("4x4", "v4"), ("4x4x20", "v4"), ("0x4x4", "v5p")]
)
def test_a_grid_that_a_generation_is_not_made_in_is_refused(topology, version):
    with pytest.raises(ValueError, match="Invalid accelerator topology"):
        check_topology(topology, version)


def test_a_worker_is_a_host_unless_it_asks_for_less():
    assert tpu.get_tpu_worker_resources("4x4", "TPU-V6E") == (4, {"CPU": 1, "TPU": 4})
    assert tpu.get_tpu_worker_resources("2x4", "v6e") == (1, {"CPU": 1, "TPU": 8})
    assert tpu.get_tpu_worker_resources("2x4", "v6e", chips_per_vm=4) == (2, {"CPU": 1, "TPU": 4})
    asked = tpu.get_tpu_worker_resources("4x4", "v6e", {"TPU": 1, "GPU": 2}, num_slices=2)
    assert asked == (32, {"TPU": 1, "GPU": 2, "CPU": 1})


def test_a_chip_may_count_for_several_devices(monkeypatch):
    assert tpu.get_tpu_worker_resources("2x2x1", "v7x", tpu_resource_per_chip=2)[1]["TPU"] == 8
    monkeypatch.setenv("RAY_TPU_RESOURCE_PER_CHIP", "2")
    assert tpu.get_tpu_worker_resources("2x2x1", "v7x")[1]["TPU"] == 8
    monkeypatch.setenv("RAY_TPU_RESOURCE_PER_CHIP", "none")
    with pytest.raises(ValueError, match="positive integer, got: 'none'"):
        tpu.get_tpu_worker_resources("2x2x1", "v7x")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"resources_per_worker": {"TPU": 3}}, "do not divide"),
        ({"resources_per_worker": {"TPU": 0}}, "must be positive"),
        ({"chips_per_vm": 0}, "chips_per_vm must be positive"),
        ({"tpu_resource_per_chip": 0}, "must be a positive integer"),
    ],
)
def test_workers_that_do_not_fill_a_slice_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        tpu.get_tpu_worker_resources("4x4", "v6e", **options)


def test_as_many_slices_as_workers_need():
    assert tpu.get_tpu_num_slices_for_workers("4x4", "v6e", 4) == 1
    assert tpu.get_tpu_num_slices_for_workers("4x4", "v6e", 5) == 2
    assert tpu.get_tpu_num_slices_for_workers("4x4", "v6e", 5, {"TPU": 1}) == 1


@pytest.mark.parametrize("asked", [("", "v6e"), ("4x4", ""), ("4x4", "v1"), ("four", "v6e")])
def test_where_it_cannot_be_said_it_is_one_slice(asked):
    assert tpu.get_tpu_num_slices_for_workers(*asked, 100) == 1


def test_slices_find_one_another_by_their_environment():
    assert tpu.get_tpu_coordinator_env_vars("10.0.0.1", 2, 1) == {
        "MEGASCALE_COORDINATOR_ADDRESS": "10.0.0.1",
        "MEGASCALE_PORT": "8081",
        "MEGASCALE_NUM_SLICES": "2",
        "MEGASCALE_SLICE_ID": "1",
    }


def test_a_pod_is_named_by_its_cores():
    assert pod_type("2x2x2", "v4") == "v4-16"
    assert pod_type("4x4", "v6e") == "v6e-16"
    assert size_of_pod("v4-16", 4) == 2
    assert size_of_pod("v6e-20", 8) == 3
    assert size_of_pod("v6e-16", 0) is None
