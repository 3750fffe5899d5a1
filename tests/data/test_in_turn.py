"""An actor that works on several blocks at once."""

import threading

import pytest

import heliostat as ray
from heliostat.data._in_turn import InTurn


@pytest.fixture(scope="module")
def session():
    ray.shutdown()
    ray.init(num_cpus=2)
    yield
    ray.shutdown()


def test_what_a_generator_gives_is_taken_in_the_turn_of_its_thread():
    turns = []

    def pieces(value):
        turns.append(value)
        yield value
        turns.append(-value)

    calls = InTurn(pieces)
    first = calls(1)
    assert turns == [1, -1]
    assert list(first) == [1]
    assert InTurn(lambda a, b=0: a + b)(1, b=2) == 3


@pytest.mark.parametrize(
    "name", ["max_concurrent_calls_per_actor", "max_tasks_in_flight_per_actor"]
)
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be an int >= 1, got 0"):
        ray.data.ActorPoolStrategy(**{name: 0})


def test_twice_as_many_blocks_wait_at_an_actor_as_it_works_on():
    strategy = ray.data.ActorPoolStrategy(max_concurrent_calls_per_actor=3)
    assert strategy.max_tasks_in_flight_per_actor == 6


def test_blocks_of_an_actor_are_worked_on_at_once_and_its_function_by_one_at_a_time(session):
    class Meets:
        """Counts how many threads are in it; each waits for a second one in vain, or not."""

        def __init__(self, together):
            self.inside, self.most = 0, 0
            self.lock = threading.Lock()
            self.barrier = threading.Barrier(2)
            self.together = together

        def __call__(self, batch):
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            if self.together:
                self.barrier.wait(timeout=60)
            with self.lock:
                self.inside -= 1
            return {"most": [self.most] * len(batch["id"])}

    for threads in (True, False):
        ds = ray.data.range(8, override_num_blocks=8).map_batches(
            Meets,
            fn_constructor_args=(threads,),
            compute=ray.data.ActorPoolStrategy(
                size=1, max_concurrent_calls_per_actor=2, enable_true_multi_threading=threads
            ),
        )
        assert max(row["most"] for row in ds.take_all()) == (2 if threads else 1)
