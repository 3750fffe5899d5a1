"""Resources are given when they are there, and work runs on them."""

import pytest

import heliostat as ray
from heliostat.air import ResourceRequest
from heliostat.air.execution import FixedResourceManager, PlacementGroupResourceManager


@pytest.fixture(scope="module", autouse=True)
def session():
    ray.shutdown()
    with ray.init(num_cpus=4):
        yield


@pytest.fixture(params=[FixedResourceManager, PlacementGroupResourceManager])
def manager(request):
    made = request.param()
    yield made
    made.clear()


def comes(manager, request):
    refs = manager.get_resource_futures()
    if refs:
        ray.wait(refs, num_returns=1, timeout=30)
    manager.update_state()
    return manager.has_resources_ready(request)


def test_what_is_there_is_given_once_and_again_when_it_comes_back(manager):
    request = ResourceRequest([{"CPU": 3}])
    assert manager.acquire_resources(request) is None
    manager.request_resources(request)
    assert comes(manager, request)
    taken = manager.acquire_resources(request)
    manager.request_resources(request)
    assert not manager.has_resources_ready(request)
    manager.free_resources(taken)
    assert comes(manager, request)
    manager.cancel_resource_request(request)
    assert manager.acquire_resources(request) is None


def test_work_runs_on_what_was_acquired(manager):
    @ray.remote
    def own():
        return ray.get_runtime_context().get_assigned_resources()["CPU"]

    @ray.remote
    class Actor:
        def own(self):
            return ray.get_runtime_context().get_assigned_resources().get("CPU", 0)

    request = ResourceRequest([{}, {"CPU": 1}, {"CPU": 2}])
    manager.request_resources(request)
    assert comes(manager, request)
    taken = manager.acquire_resources(request)
    head, one, two = taken.annotate_remote_entities([Actor, own, own])
    assert ray.get([head.remote().own.remote(), one.remote(), two.remote()]) == [0, 1, 2]
    with pytest.raises(RuntimeError, match="4 remote functions or classes for 3 bundles"):
        taken.annotate_remote_entities([own] * 4)
    manager.free_resources(taken)


def test_requests_are_equal_by_what_they_ask_for():
    one, same = ResourceRequest([{"CPU": 1, "GPU": 0}]), ResourceRequest([{"CPU": 1.0}])
    assert one == same
    assert hash(one) == hash(same)
    assert one != ResourceRequest([{"CPU": 1}], strategy="SPREAD")
    assert ResourceRequest([{}, {"CPU": 1}]).head_cpus == 0
    assert repr(one) == "ResourceRequest([{'CPU': 1.0}], strategy='PACK')"


@pytest.mark.parametrize("bundles", [[], [{}], [{"CPU": 0}], [{"CPU": 1}, {}]])
def test_a_request_for_nothing_is_refused(bundles):
    with pytest.raises(ValueError, match="needs resources"):
        ResourceRequest(bundles)


def test_what_counting_cannot_keep_is_refused():
    with pytest.raises(RuntimeError, match="PlacementGroupResourceManager"):
        FixedResourceManager().request_resources(ResourceRequest([{"CPU": 1}], "STRICT_SPREAD"))


def test_what_was_not_asked_for_cannot_be_cancelled():
    with pytest.raises(RuntimeError, match="not asked for"):
        PlacementGroupResourceManager().cancel_resource_request(ResourceRequest([{"CPU": 1}]))
