"""What type checkers make of Core's calls; read by mypy and pyright, never run."""

from typing import assert_type

import heliostat as ray


@ray.remote
def square(x: int) -> int:
    return x * x


class Counter:
    def __init__(self, start: int) -> None:
        self.value = start

    def add(self, by: int) -> int:
        self.value += by
        return self.value


def a_task_gives_a_ref_to_what_its_function_returns() -> None:
    ref = square.remote(2)
    assert_type(ref, ray.ObjectRef[int])
    assert_type(ray.get(ref), int)
    assert_type(ray.get([ref, ref]), list[int])


def options_keep_the_signature() -> None:
    assert_type(square.options(num_cpus=2).remote(3), ray.ObjectRef[int])


def an_argument_of_the_wrong_type_is_found() -> None:
    square.remote("2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    square.remote()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def put_keeps_the_type() -> None:
    assert_type(ray.get(ray.put("text")), str)


def a_class_becomes_a_class_of_actors() -> None:
    # As a call: mypy, unlike pyright, does not let a class decorator change the type of a class.
    remote_counter = ray.remote(Counter)
    assert_type(remote_counter, ray.ActorClass[Counter])
    assert_type(remote_counter.remote(1), ray.ActorHandle[Counter])
    assert_type(remote_counter.options(name="one").remote(1), ray.ActorHandle[Counter])
