"""Slices as placement groups, on a machine that says how many chips it has."""

import pytest

import heliostat
from heliostat.util import tpu
from heliostat.util.tpu._slices import NAME, POD, WORKER


@pytest.fixture
def machine():
    """A function: a session with so many chips and these labels."""

    def start(chips, labels=None, **resources):
        heliostat.init(
            num_cpus=4, resources={"TPU": chips, **resources}, labels=labels, log_to_driver=False
        )

    yield start
    heliostat.shutdown()


@heliostat.remote
def where(name="nobody"):
    context = heliostat.get_runtime_context()
    return name, context.get_assigned_resources()["TPU"]


def test_a_slice_on_one_host_is_a_bundle_and_its_task(machine):
    machine(8)
    held = tpu.slice_placement_group(" 2X4", "V6E", name="mine")
    assert (held.topology, held.accelerator_version) == ("2x4", "v6e")
    assert (held.num_hosts, held.num_bundles, held.num_slices) == (1, 1, 1)
    assert (held.chips_per_host, held.devices_per_host, held.tpu_resource_per_chip) == (8, 8, 1)
    assert held.bundle_resources == {"CPU": 1, "TPU": 8}
    assert held.head_placement_groups == []
    assert held.placement_group is held.slice_placement_group
    heliostat.get(held.placement_group.ready())
    assert heliostat.get(tpu.run_on_slice(where, "me", tpu_slice=held)) == [("me", 8)]
    assert heliostat.available_resources().get("TPU", 0) == 0
    held.shutdown()
    held.shutdown()
    assert held.placement_group is None
    assert heliostat.available_resources()["TPU"] == 8
    with pytest.raises(ValueError, match="shut down"):
        tpu.run_on_slice(where, tpu_slice=held)


def test_several_slices_have_a_group_each_if_asked(machine):
    machine(8)
    held = tpu.SlicePlacementGroup("2x2", "v6e", num_slices=2, pg_per_slice=True, name="it")
    assert len(held.slice_placement_groups) == 2
    assert heliostat.util.get_placement_group("it_slice_1").id == held.slice_placement_groups[1].id
    with pytest.raises(ValueError, match="use `slice_placement_groups`"):
        held.slice_placement_group  # noqa: B018
    assert heliostat.get(tpu.run_on_slice(where, tpu_slice=held)) == [("nobody", 4)] * 2
    chosen = tpu.run_on_slice(where, tpu_slice=held, slice_index=1, name="second")
    assert heliostat.get(chosen) == [("second", 4)]
    with pytest.raises(ValueError, match="Invalid slice_index 2"):
        tpu.run_on_slice(where, tpu_slice=held, slice_index=2)
    held.shutdown()


def test_bundles_may_be_less_than_a_host(machine):
    machine(8)
    held = tpu.SlicePlacementGroup("2x4", "v6e", {"TPU": 2})
    assert held.num_bundles == 4
    assert heliostat.get(tpu.run_on_slice(where, tpu_slice=held)) == [("nobody", 2)] * 4
    with pytest.raises(ValueError, match="pg_per_slice=False"):
        held.slice_placement_groups  # noqa: B018
    with pytest.raises(ValueError, match="pg_per_slice=True"):
        tpu.run_on_slice(where, tpu_slice=held, slice_index=0)
    held.shutdown()


def test_a_slice_of_several_hosts_is_found_by_its_head(machine, monkeypatch):
    monkeypatch.setenv("TPU_NAME", "wired")
    labels = {POD: "v6e-16", WORKER: "0", NAME: "wired"}
    machine(16, labels, **{"TPU-v6e-16-head": 1})
    held = tpu.SlicePlacementGroup("4x4", "v6e", strategy="PACK")
    assert held.num_hosts == 4
    assert len(held.head_placement_groups) == 1
    assert held.bundle_label_selector == [{NAME: "wired"}] * 4
    with pytest.raises(TimeoutError, match="no head of a v6e slice of topology 4x4 was free"):
        tpu.SlicePlacementGroup("4x4", "v6e", head_reservation_timeout_s=0.1)
    with pytest.raises(ValueError, match="Invalid slice_index: 1"):
        held.release_head_pgs(1)
    held.release_head_pgs(0)
    assert held.head_placement_groups == []
    assert heliostat.get(tpu.run_on_slice(where, tpu_slice=held)) == [("nobody", 4)] * 4
    held.shutdown()
    given = [{NAME: "wired"}] * 4
    named = tpu.SlicePlacementGroup("4x4", "v6e", strategy="PACK", bundle_label_selector=given)
    assert named.head_placement_groups == []
    named.shutdown()


def test_a_machine_that_no_such_slice_begins_with_says_so(machine):
    machine(4)
    with pytest.raises(RuntimeError, match="has 4 hosts, and none here is its first"):
        tpu.SlicePlacementGroup("4x4", "v6e")
    with pytest.raises(ValueError, match="asks for more than there is: TPU: 8"):
        tpu.SlicePlacementGroup("2x4", "v6e")
    with pytest.raises(ValueError, match="Invalid accelerator topology"):
        tpu.SlicePlacementGroup("4x4x4", "v6e")
    with pytest.raises(ValueError, match=r"length \(2\) must match the number of bundles \(1\)"):
        tpu.SlicePlacementGroup("2x2", "v6e", bundle_label_selector=[{}, {}])
    assert heliostat.available_resources()["TPU"] == 4


def test_a_function_runs_on_a_slice_of_its_own(machine):
    machine(4)
    refs = tpu.run_on_slice(where, topology="2x2", accelerator_version="v6e")
    assert heliostat.get(refs) == [("nobody", 4)]
    late = {"topology": "2x2", "accelerator_version": "v6e", "pg_ready_timeout_s": 0.1}
    with pytest.raises(TimeoutError, match=r"not there within 0\.1 s: others hold its TPUs"):
        tpu.run_on_slice(where, **late)
    with pytest.raises(TypeError, match="must be a remote function, got 'function'"):
        tpu.run_on_slice(lambda: 1, topology="2x2", accelerator_version="v6e")
    with pytest.raises(ValueError, match="are required without a tpu_slice"):
        tpu.run_on_slice(where, topology="2x2")
    with pytest.raises(ValueError, match="only be used when a tpu_slice is given"):
        tpu.run_on_slice(where, topology="2x2", accelerator_version="v6e", slice_index=0)


def test_the_older_name_warns(machine):
    machine(4)
    with pytest.warns(DeprecationWarning, match="renamed to 'run_on_slice'"):
        refs = tpu.dispatch(where, topology="2x2", accelerator_version="v6e")
    assert heliostat.get(refs) == [("nobody", 4)]


def test_whole_and_idle_slices_are_counted(machine):
    assert tpu.get_num_ready_tpu_slices("2x4", "TPU-V6E") == 0
    assert tpu.get_tpu_nodes_for_slice("wired") == []
    machine(8, {POD: "v6e-8", NAME: "wired"})
    [node] = tpu.get_tpu_nodes_for_slice("wired")
    assert tpu.get_tpu_slice_name_from_node(node) == "wired"
    assert tpu.get_tpu_nodes_for_slice("other") == []
    assert tpu.get_tpu_nodes_for_slice("wired", [{**node, "Alive": False}]) == []
    assert tpu.get_num_ready_tpu_slices("2x4", "TPU-V6E") == 1
    assert tpu.get_num_ready_tpu_slices("2x2", "TPU-V6E") == 0
    held = tpu.SlicePlacementGroup("2x2", "v6e")
    heliostat.get(held.placement_group.ready())
    assert tpu.get_num_ready_tpu_slices("2x4", "TPU-V6E") == 0
    held.shutdown()
