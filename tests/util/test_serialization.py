"""register_serializer: a class travels in a way of the user's own."""

import threading

import pytest

import heliostat as ray


class Locked:
    def __init__(self, value: int) -> None:
        self.value = value
        self.lock = threading.Lock()


@pytest.fixture
def registered():
    ray.util.register_serializer(
        Locked, serializer=lambda locked: locked.value + 100, deserializer=Locked
    )
    yield
    ray.util.deregister_serializer(Locked)


def test_a_registered_class_travels_inside_of_other_values(local, registered):
    @ray.remote
    def read(held):
        return held["locked"].value

    assert ray.get(ray.put(Locked(1))).value == 101
    assert ray.get(read.remote({"locked": Locked(2)}), timeout=20) == 102


def test_a_worker_that_sends_has_to_register_itself(local, registered):
    @ray.remote
    def make(register):
        if register:
            ray.util.register_serializer(
                Locked, serializer=lambda locked: locked.value, deserializer=Locked
            )
        else:
            ray.util.deregister_serializer(Locked)  # of an earlier call in this worker
        return Locked(3)

    assert ray.get(make.remote(True), timeout=20).value == 3
    with pytest.raises(TypeError, match="cannot pickle"):
        ray.get(make.remote(False), timeout=20)


def test_without_it_everything_is_as_before(local, registered):
    ray.util.deregister_serializer(Locked)
    ray.util.deregister_serializer(Locked)
    with pytest.raises(TypeError, match="cannot pickle"):
        ray.put(Locked(1))


def test_what_is_no_class_or_function_is_refused():
    with pytest.raises(TypeError, match="takes a class, got 3"):
        ray.util.register_serializer(3, serializer=str, deserializer=int)
    with pytest.raises(TypeError, match="serializer must be a function, got None"):
        ray.util.register_serializer(Locked, serializer=None, deserializer=int)


def test_the_cloud_s_name_of_the_machine_is_what_the_environment_says(monkeypatch):
    monkeypatch.delenv("RAY_CLOUD_INSTANCE_ID", raising=False)
    assert ray.util.get_node_instance_id() == ""
    monkeypatch.setenv("RAY_CLOUD_INSTANCE_ID", "i-123")
    assert ray.util.get_node_instance_id() == "i-123"
