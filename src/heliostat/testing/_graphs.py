"""The suite's tests of graphs: `.bind(...)` and `.execute(...)`."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg, unreachable"

from __future__ import annotations

import os
from collections import namedtuple
from typing import Any

import pytest

import heliostat as ray
from heliostat.dag import InputNode, MultiOutputNode
from heliostat.testing._session import SharedSession

Pair = namedtuple("Pair", "a b")


@ray.remote
def add(a: Any, b: Any) -> Any:
    return a + b


@ray.remote
def same(value: Any) -> Any:
    return value


@ray.remote
class Counter:
    def __init__(self, start: int) -> None:
        self.n = start

    def add(self, by: int = 1) -> int:
        self.n += by
        return self.n


class GraphTests(SharedSession):
    """Graphs of calls, that are run when they are executed."""

    def test_a_node_runs_when_it_is_executed(self) -> None:
        graph = add.bind(add.bind(1, 2), b=3)
        ref = graph.execute()
        assert isinstance(ref, ray.ObjectRef)
        assert ray.get(ref, timeout=20) == 6
        assert graph.get_kwargs() == {"b": 3}
        assert ray.get(add.options(num_cpus=2).bind(1, 2).execute(), timeout=20) == 3

    def test_a_node_that_two_need_runs_once_in_each_execution(self) -> None:
        shared = ray.remote(lambda: os.urandom(8)).bind()
        pair = same.bind([shared, shared])
        a, b = ray.get(ray.get(pair.execute(), timeout=20))
        c, _ = ray.get(ray.get(pair.execute(), timeout=20))
        assert a == b != c

    def test_nodes_are_found_in_containers(self) -> None:
        three = add.bind(1, 2)
        held = ray.get(same.bind({"k": [three, (three, 1)], "p": Pair(three, 0)}).execute())
        first, (second, one) = held["k"]
        assert [ray.get(first), ray.get(second), one] == [3, 3, 1]
        assert ray.get(held["p"].a) == 3

    def test_a_long_chain_of_nodes_is_executed(self) -> None:
        node = add.bind(0, 1)
        for _ in range(2000):
            node = add.bind(node, 1)
        assert ray.get(node.execute(), timeout=60) == 2001

    def test_an_input_node_stands_for_what_execute_is_given(self) -> None:
        with InputNode() as given:
            whole = add.bind(given, 1)
            parts = add.bind(given[0], given.by)
            items = add.bind(given["a"], given["b"])
        assert ray.get(whole.execute(1), timeout=20) == 2
        assert ray.get(parts.execute(1, by=2), timeout=20) == 3
        assert ray.get(items.execute({"a": 1, "b": 3}), timeout=20) == 4
        assert ray.get(items.execute(a=1, b=3), timeout=20) == 4
        with pytest.raises(KeyError, match="reads input 'by', which execute\\(\\) was not given"):
            parts.execute(1, 2)
        with pytest.raises(AttributeError, match="no attribute 'deeper'"):
            _ = given.by.deeper

    def test_several_ends_are_executed_together(self) -> None:
        with InputNode() as given:
            ends = MultiOutputNode([add.bind(given, 1), add.bind(given, 2)])
        assert ray.get(ends.execute(1), timeout=20) == [2, 3]
        with pytest.raises(ValueError, match="takes a list of nodes"):
            MultiOutputNode(3)

    def test_every_execution_starts_its_own_actor(self) -> None:
        counter = Counter.bind(10)
        first, second = counter.add.bind(1), counter.add.bind(by=5)
        assert [ray.get(first.execute(), timeout=20) for _ in range(2)] == [11, 11]
        assert ray.get(second.execute(), timeout=20) == 16  # the first is run before
        assert isinstance(counter.execute(), ray.ActorHandle)
        with pytest.raises(AttributeError, match="class Counter has no method 'nope'"):
            _ = counter.nope
        with pytest.raises(ValueError, match="was given an InputNode"):
            Counter.bind(InputNode())

    def test_methods_of_living_actors_are_nodes_too(self) -> None:
        counter = Counter.remote(1)
        node = counter.add.bind(add.bind(1, 1))
        assert [ray.get(node.execute(), timeout=20) for _ in range(2)] == [3, 5]

    def test_a_graph_travels_and_runs_in_tasks(self) -> None:
        @ray.remote
        def run(graph: Any) -> Any:
            return ray.get(graph.execute(2))

        with InputNode() as given:
            graph = add.bind(given, 1)
        assert ray.get(run.remote(graph), timeout=20) == 3

    def test_a_node_says_what_to_do_instead(self) -> None:
        node = add.bind(1, 2)
        with pytest.raises(AttributeError, match="cannot be used again"):
            node.bind()
        with pytest.raises(AttributeError, match=r"with \.execute\(\)"):
            node.remote()
        with pytest.raises(NotImplementedError, match=r"call \.execute"):
            node.experimental_compile()
        with pytest.raises(TypeError, match="missing a required argument: 'b'"):
            add.bind(1).execute()
