"""What a killed actor had asked for does not live on."""

import time

import pytest

import heliostat as ray
from heliostat.testing.clock import until


@pytest.fixture
def three_cpus():
    ray.init(num_cpus=3)
    yield
    ray.shutdown()


@ray.remote(num_cpus=1)
class Inner:
    def nap(self) -> None:
        time.sleep(1000)


@ray.remote
def nap() -> None:
    time.sleep(1000)


@ray.remote
class Outer:
    def start(self, with_handle: bool) -> object:
        self.inner = Inner.remote()
        self.calls = [self.inner.nap.remote(), nap.remote()]
        return self.inner if with_handle else None


def free() -> float:
    return ray.available_resources().get("CPU", 0)


def test_busy_actors_and_tasks_of_a_killed_actor_end_with_it(three_cpus: None) -> None:
    outer = Outer.remote()
    ray.get(outer.start.remote(False))
    until(lambda: free() == 1, "both run")
    ray.kill(outer)
    until(lambda: free() == 3, "both have ended")


def test_an_actor_that_somebody_else_can_reach_survives_its_maker(three_cpus: None) -> None:
    outer = Outer.remote()
    inner = ray.get(outer.start.remote(True))
    ray.kill(outer)
    until(lambda: free() == 2, "the task has ended, the actor holds its CPU")
    ray.kill(inner)
    until(lambda: free() == 3, "all is free")
