"""What type checkers make of Core's calls; read by mypy and pyright, never run."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

import heliostat as ray
from heliostat.actor import ActorProxy
from heliostat.util.placement_group import PlacementGroup, placement_group
from heliostat.util.scheduling_strategies import PlacementGroupSchedulingStrategy


@ray.remote
def square(x: int) -> int:
    return x * x


@ray.remote(num_cpus=2)
def join(left: str, right: str = "", *, times: int = 1) -> str:
    return (left + right) * times


@ray.remote
def count(n: int) -> Iterator[int]:
    yield from range(n)


@ray.remote(num_returns="dynamic")
def count_first(n: int) -> Iterator[int]:
    yield from range(n)


class Counter:
    def __init__(self, start: int) -> None:
        self.value = start

    @ray.method
    def add(self, by: int, *, twice: bool = False) -> int:
        self.value += by
        return self.value

    @ray.method(max_task_retries=1)
    def name(self) -> str:
        return "counter"

    @ray.method
    async def later(self, by: int) -> int:
        return by

    @ray.method
    def each(self, n: int) -> Iterator[str]:
        yield from map(str, range(n))

    @ray.method
    async def each_later(self, n: int) -> AsyncIterator[str]:
        yield str(n)

    @ray.method(num_returns=2)
    def both(self) -> tuple[int, str]:
        return 1, "one"

    def unmarked(self, by: int) -> int:
        return self.add(by)


def a_task_gives_a_ref_to_what_its_function_returns() -> None:
    ref = square.remote(2)
    assert_type(ref, ray.ObjectRef[int])
    assert_type(ray.get(ref), int)
    assert_type(ray.get([ref, ref]), list[int])
    assert_type(ray.get((ref, ref)), list[int])


def keywords_and_defaults_are_known() -> None:
    assert_type(join.remote("a"), ray.ObjectRef[str])
    assert_type(join.remote("a", "b", times=3), ray.ObjectRef[str])
    assert_type(join.remote(left="a", right="b"), ray.ObjectRef[str])


def options_keep_the_signature() -> None:
    assert_type(square.options(num_cpus=2).remote(3), ray.ObjectRef[int])
    assert_type(count.options(name="c").remote(3), ray.ObjectRefGenerator[int])


def an_argument_of_the_wrong_type_is_found() -> None:
    square.remote("2")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    square.remote()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    square.remote(2, 3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    join.remote("a", times="b")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def a_reference_may_stand_for_a_value() -> None:
    ref = square.remote(2)
    assert_type(square.remote(ref), ray.ObjectRef[int])
    assert_type(join.remote("a", ray.put("b"), times=2), ray.ObjectRef[str])
    # What we give up: by name it may not, because no overload can say "one of the names".
    join.remote(left=ray.put("a"))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def a_generator_function_gives_a_stream() -> None:
    stream = count.remote(3)
    assert_type(stream, ray.ObjectRefGenerator[int])
    assert_type(next(stream), ray.ObjectRef[int])
    for ref in count.remote(3):
        assert_type(ray.get(ref), int)
    for ref in ray.get(count_first.remote(3)):
        assert_type(ray.get(ref), int)
    for ref in ray.get(count.options(num_returns="dynamic").remote(3)):
        assert_type(ray.get(ref), int)


def wait_keeps_the_type() -> None:
    refs = [square.remote(1), square.remote(2)]
    ready, rest = ray.wait(refs, num_returns=1, timeout=1.5)
    assert_type(ready, list[ray.ObjectRef[int]])
    assert_type(rest, list[ray.ObjectRef[int]])

    waitables: list[ray.ObjectRef[int] | ray.ObjectRefGenerator[int]]
    waitables = [square.remote(1), count.remote(2)]
    mixed, _ = ray.wait(waitables)
    assert_type(mixed, list[ray.ObjectRef[int] | ray.ObjectRefGenerator[int]])


async def awaiting_gives_the_value() -> None:
    assert_type(await square.remote(2), int)
    async for ref in count.remote(2):
        assert_type(await ref, int)


def put_keeps_the_type() -> None:
    assert_type(ray.get(ray.put("text")), str)


def a_class_becomes_a_class_of_actors() -> None:
    # As a call: mypy, unlike pyright, does not let a class decorator change the type of a class.
    remote_counter = ray.remote(Counter)
    assert_type(remote_counter, ray.ActorClass[Counter])
    use(remote_counter.remote(1))
    use(remote_counter.options(name="one").remote(1))


def use(counter: ActorProxy[Counter]) -> None:
    assert_type(counter.add.remote(1), ray.ObjectRef[int])
    assert_type(counter.add.remote(1, twice=True), ray.ObjectRef[int])
    assert_type(counter.add.remote(square.remote(1)), ray.ObjectRef[int])
    assert_type(counter.add.options(name="n").remote(1), ray.ObjectRef[int])
    assert_type(counter.name.remote(), ray.ObjectRef[str])
    assert_type(counter.later.remote(1), ray.ObjectRef[int])
    assert_type(counter.each.remote(1), ray.ObjectRefGenerator[str])
    assert_type(counter.each_later.remote(1), ray.ObjectRefGenerator[str])
    one, two = counter.both.remote()
    ray.get([one, two])
    ray.kill(counter)


def a_wrong_argument_of_a_marked_method_is_found(counter: ActorProxy[Counter]) -> None:
    counter.add.remote("1")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    counter.nothing.remote()  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue]


def any_method_of_a_plain_handle_may_be_called(counter: ray.ActorHandle[Counter]) -> Any:
    return ray.get(counter.unmarked.remote(1))


def a_placement_group_knows_what_it_gives() -> None:
    """A placement group, and what runs in it."""
    group = placement_group([{"CPU": 1}, {"GPU": 0.5}], strategy="PACK")
    assert_type(group, PlacementGroup)
    assert_type(ray.get(group.ready()), PlacementGroup)
    assert_type(group.wait(5), bool)
    assert_type(group.bundle_specs, list[dict[str, float]])
    inside = square.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, 0))
    assert_type(ray.get(inside.remote(2)), int)
