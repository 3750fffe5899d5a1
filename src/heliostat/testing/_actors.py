"""The suite's tests of actors: state, order, names, handles, overlap of calls."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg, no-any-return"

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat.exceptions import ActorDiedError, RayActorError, RayTaskError
from heliostat.testing._session import Gate, SharedSession
from heliostat.testing.clock import until
from heliostat.util import state


class Base:
    """What a subclass of a plain class inherits."""

    def greet(self) -> str:
        """Greet by the name of the subclass."""
        return f"I am {type(self).__name__}"


def counter_class() -> Any:
    """A fresh actor class that counts."""

    @ray.remote
    class Counter(Base):
        """Counts."""

        def __init__(self, start: int = 0) -> None:
            self.count = start

        def add(self, amount: int = 1) -> int:
            self.count += amount
            return self.count

        def fail(self, message: str) -> None:
            raise KeyError(message)

        @ray.method(num_returns=2)
        def pair(self) -> tuple[int, int]:
            return self.count, -self.count

        @staticmethod
        def static(x: int) -> int:
            return x

        @classmethod
        def class_name(cls) -> str:
            return cls.__name__

    return Counter


class ActorTests(SharedSession):
    """`@remote` on classes."""

    def test_a_bare_mark_changes_nothing(self) -> None:
        @ray.remote
        class Marked:
            @ray.method
            def twice(self, x: int) -> int:
                return self.once(x) + x

            @ray.method
            def once(self, x: int) -> int:
                return x

        assert ray.get(Marked.remote().twice.remote(2), timeout=20) == 4
        for wrong in (
            lambda: ray.method(),
            lambda: ray.method(3),
            lambda: ray.method(len, name=""),
        ):
            with pytest.raises(TypeError, match="use @method bare, or with keyword options"):
                wrong()

    def test_nothing_is_derived_from_an_actor_class(self) -> None:
        @ray.remote
        class Base:
            pass

        with pytest.raises(TypeError, match="cannot inherit from the actor class"):

            class Derived(Base):
                pass

    def test_an_actor_keeps_its_state_and_the_order_of_calls(self) -> None:
        counter = counter_class().remote(10)
        assert ray.get([counter.add.remote() for _ in range(200)]) == list(range(11, 211))
        assert ray.get(counter.add.remote(amount=5)) == 215

    def test_actors_do_not_share_state(self) -> None:
        counter = counter_class()
        first, second = counter.remote(), counter.remote(100)
        assert ray.get([first.add.remote(), second.add.remote()]) == [1, 101]

    def test_inherited_static_and_class_methods_can_be_called(self) -> None:
        counter = counter_class().remote()
        assert ray.get(counter.greet.remote()) == "I am Counter"
        assert ray.get(counter.static.remote(4)) == 4
        assert ray.get(counter.class_name.remote()) == "Counter"

    def test_num_returns_of_methods(self) -> None:
        counter = counter_class().remote(3)
        assert ray.get(counter.pair.remote()) == [3, -3]
        assert ray.get(counter.pair.options(num_returns=1).remote()) == (3, -3)
        assert counter.add.options(num_returns=0).remote() is None
        assert ray.get(counter.add.remote()) == 5

    def test_making_an_actor_directly_says_what_to_write(self) -> None:
        with pytest.raises(TypeError, match=r"Counter\.remote\("):
            counter_class()()

    def test_calling_a_method_directly_says_what_to_write(self) -> None:
        counter = counter_class().remote()
        with pytest.raises(TypeError, match=r"add\.remote\("):
            counter.add()

    def test_an_unknown_method_is_an_attribute_error(self) -> None:
        counter = counter_class().remote()
        with pytest.raises(AttributeError, match="subtract"):
            counter.subtract.remote()

    def test_arguments_that_do_not_fit_are_a_type_error_at_the_call(self) -> None:
        counter = counter_class()
        with pytest.raises(TypeError, match="too many positional"):
            counter.remote(1, 2)
        with pytest.raises(TypeError, match="too many positional"):
            counter.remote().add.remote(1, 2)

    def test_references_as_arguments_of_actors(self) -> None:
        counter = counter_class().remote(ray.put(5))
        assert ray.get(counter.add.remote(counter.add.remote(ray.put(2)))) == 14

    def test_an_exception_in_a_method_leaves_the_actor_alive(self) -> None:
        counter = counter_class().remote()
        with pytest.raises(KeyError, match="oops") as caught:
            ray.get(counter.fail.remote("oops"))
        assert isinstance(caught.value, RayTaskError)
        assert ray.get(counter.add.remote()) == 1

    def test_an_exception_in_the_constructor_fails_every_call_with_its_text(self) -> None:
        @ray.remote
        class Broken:
            def __init__(self) -> None:
                raise ValueError("no such model")

            def call(self) -> None: ...

        broken = Broken.remote()
        for _ in range(2):
            with pytest.raises(ActorDiedError, match=r"(?s)no such model") as caught:
                ray.get(broken.call.remote())
            assert isinstance(caught.value, RayActorError)

    def test_a_failed_argument_of_the_constructor_is_in_the_error_of_the_calls(self) -> None:
        @ray.remote
        def bad() -> int:
            raise ValueError("bad start")

        counter = counter_class().remote(bad.remote())
        with pytest.raises((RayActorError, RayTaskError), match="bad start"):
            ray.get(counter.add.remote())

    def test_calls_already_made_run_although_the_handle_is_gone(self) -> None:
        assert ray.get(counter_class().remote(1).add.remote()) == 2
        refs = [counter_class().remote(n).add.remote() for n in range(3)]
        assert ray.get(refs) == [1, 2, 3]

    def test_an_actor_without_handles_gives_its_resources_back(self) -> None:
        actor = counter_class().options(num_cpus=2).remote()
        ray.get(actor.add.remote())
        assert ray.available_resources()["CPU"] == 2.0
        del actor
        until(lambda: ray.available_resources()["CPU"] == 4.0, "the actor is gone")

    def test_options_of_actors_make_a_changed_copy(self) -> None:
        counter = counter_class()
        named = counter.options(name="copy").remote()
        assert ray.get(ray.get_actor("copy").add.remote()) == 1
        assert ray.get(counter.remote().add.remote()) == 1
        ray.kill(named)

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"colour": 1}, ValueError),
            ({"name": ""}, ValueError),
            ({"name": 3}, TypeError),
            ({"get_if_exists": True}, ValueError),
            ({"max_restarts": -2}, ValueError),
            ({"max_concurrency": 0}, ValueError),
            ({"num_cpus": -1}, ValueError),
        ],
    )
    def test_a_bad_option_of_an_actor_is_refused_by_name(
        self, options: dict[str, Any], error: type[Exception]
    ) -> None:
        (name,) = options
        with pytest.raises(error, match=f"(?i){name}"):
            counter_class().options(**options).remote()

    def test_a_named_actor_is_found_until_it_dies(self) -> None:
        counter = counter_class().options(name="finder").remote(7)
        found = ray.get_actor("finder")
        assert ray.get(found.add.remote()) == 8
        assert ray.get(counter.add.remote()) == 9
        assert found == counter
        ray.kill(counter)
        with pytest.raises(ValueError, match="finder"):
            until(lambda: not ray.get_actor("finder"))

    def test_the_name_of_a_dead_actor_is_free_again(self) -> None:
        counter = counter_class()
        first = counter.options(name="again").remote(1)
        ray.get(first.add.remote())
        ray.kill(first)
        second = counter.options(name="again", get_if_exists=True).remote(50)

        def revived() -> bool:
            nonlocal second
            try:
                return bool(ray.get(second.add.remote()) > 50)
            except RayActorError:
                second = counter.options(name="again", get_if_exists=True).remote(50)
                return False

        until(revived, "the name belongs to the new actor")
        ray.kill(second)

    def test_a_name_nobody_has_is_a_value_error(self) -> None:
        with pytest.raises(ValueError, match="nobody-has-this"):
            ray.get_actor("nobody-has-this")

    def test_a_taken_name_is_a_value_error_unless_the_holder_is_asked_for(self) -> None:
        counter = counter_class()
        first = counter.options(name="single").remote()
        with pytest.raises(ValueError, match="single"):
            counter.options(name="single").remote()
        same = counter.options(name="single", get_if_exists=True).remote()
        assert ray.get([first.add.remote(), same.add.remote()]) == [1, 2]
        assert same == first
        ray.kill(first)

    @pytest.mark.parametrize("kind", ["plain", "threaded", "asyncio"])
    def test_a_call_has_the_name_that_its_options_give_it(self, kind: str) -> None:
        class Named:
            def __init__(self) -> None:
                self.made_in = ray.get_runtime_context().get_task_function_name()

            def names(self) -> list[Any]:
                context = ray.get_runtime_context()
                return [context.get_task_name(), context.get_task_function_name(), self.made_in]

        class Asynchronous(Named):
            async def look(self) -> list[Any]:
                return self.names()

        @ray.remote
        def call(actor: Any) -> list[Any]:
            methods = [actor.names.options(name=f"by line {n}") for n in range(5)]
            return [ray.get(method.remote())[0] for method in methods]

        class_ = ray.remote(Asynchronous if kind == "asyncio" else Named)
        actor = class_.options(max_concurrency=3 if kind == "threaded" else None).remote()
        name, function, made_in = ray.get(actor.names.remote())
        assert name.endswith(".names")
        assert function.startswith(f"{__name__}.")
        assert function.endswith(f"{name.rpartition('.')[0].rpartition('.')[2]}.names")
        assert made_in == function.replace(".names", ".__init__")
        renamed = ray.get(actor.names.options(name="my own name").remote())
        assert renamed == ["my own name", function, made_in]
        assert "my own name" in [row.name for row in state.list_tasks()]
        assert ray.get(call.remote(actor)) == [f"by line {n}" for n in range(5)]

    def test_namespaces_keep_names_apart(self) -> None:
        counter = counter_class()
        here = counter.options(name="apart").remote(0)
        there = counter.options(name="apart", namespace="elsewhere").remote(100)
        assert ray.get(ray.get_actor("apart").add.remote()) == 1
        assert ray.get(ray.get_actor("apart", namespace="elsewhere").add.remote()) == 101
        ray.kill(here)
        ray.kill(there)

    def test_handles_go_to_tasks_and_to_other_actors(self) -> None:
        counter = counter_class().remote()

        @ray.remote
        def use(handle: Any) -> int:
            return ray.get(handle.add.remote(10))

        @ray.remote
        class Friend:
            def __init__(self, box: dict[str, Any]) -> None:
                self.handle = box["handle"]

            def use(self) -> int:
                return ray.get(self.handle.add.remote(100))

            def give(self) -> Any:
                return self.handle

        assert ray.get(use.remote(counter)) == 10
        friend = Friend.remote({"handle": counter})
        assert ray.get(friend.use.remote()) == 110
        given = ray.get(friend.give.remote())
        assert given == counter
        assert hash(given) == hash(counter)
        assert ray.get(given.add.remote()) == 111

    def test_a_handle_inside_an_actor_keeps_the_other_alive(self) -> None:
        @ray.remote
        class Keeper:
            def keep(self, box: list[Any]) -> None:
                self.handle = box[0]

            def add(self) -> int:
                return ray.get(self.handle.add.remote())

        keeper = Keeper.remote()
        ray.get(keeper.keep.remote([counter_class().remote(20)]))
        assert [ray.get(keeper.add.remote()) for _ in range(3)] == [21, 22, 23]

    def test_an_actor_may_make_actors_and_tasks(self) -> None:
        @ray.remote
        def double(x: int) -> int:
            return 2 * x

        @ray.remote
        class Parent:
            def __init__(self) -> None:
                self.child = counter_class().remote(5)

            def run(self) -> int:
                return ray.get(double.remote(self.child.add.remote()))

        assert ray.get(Parent.remote().run.remote()) == 12

    def test_calls_of_an_async_actor_overlap(self) -> None:
        @ray.remote
        class Meeting:
            def __init__(self) -> None:
                self.here = 0
                self.complete = asyncio.Event()

            async def arrive(self, guests: int) -> int:
                self.here += 1
                if self.here == guests:
                    self.complete.set()
                await self.complete.wait()
                return self.here

        meeting = Meeting.remote()
        assert ray.get([meeting.arrive.remote(20) for _ in range(20)], timeout=20) == [20] * 20

    def test_max_concurrency_bounds_an_async_actor(self) -> None:
        @ray.remote(max_concurrency=2)
        class Narrow:
            def __init__(self) -> None:
                self.now = self.most = 0

            async def enter(self) -> None:
                self.now += 1
                self.most = max(self.most, self.now)
                await asyncio.sleep(0.002)
                self.now -= 1

            async def most_at_once(self) -> int:
                return self.most

        narrow = Narrow.remote()
        ray.get([narrow.enter.remote() for _ in range(10)])
        assert ray.get(narrow.most_at_once.remote()) == 2

    def test_an_async_method_awaits_references_and_raises(self) -> None:
        @ray.remote
        def double(x: int) -> int:
            return 2 * x

        @ray.remote
        class Asker:
            async def ask(self, x: int) -> int:
                return sum(await asyncio.gather(*(double.remote(n) for n in range(x))))

            async def fail(self) -> None:
                raise KeyError("in a coroutine")

        asker = Asker.remote()
        assert ray.get([asker.ask.remote(3), asker.ask.remote(4)]) == [6, 12]
        with pytest.raises(KeyError, match="in a coroutine"):
            ray.get(asker.fail.remote())

    def test_an_async_actor_may_call_itself(self) -> None:
        @ray.remote
        class Recursive:
            async def down(self, level: int) -> int:
                me = ray.get_runtime_context().current_actor
                return 0 if level == 0 else 1 + await me.down.remote(level - 1)

        assert ray.get(Recursive.remote().down.remote(10), timeout=20) == 10

    def test_an_async_method_may_block_in_get(self) -> None:
        @ray.remote
        def double(x: int) -> int:
            return 2 * x

        @ray.remote
        class Blocking:
            async def ask(self, x: int) -> int:
                return ray.get(double.remote(x))

        blocking = Blocking.remote()
        assert ray.get([blocking.ask.remote(n) for n in range(5)], timeout=20) == [0, 2, 4, 6, 8]

    def test_threads_of_an_actor_may_call_and_get(self) -> None:
        @ray.remote
        def double(x: int) -> int:
            return 2 * x

        @ray.remote
        class Background:
            def __init__(self) -> None:
                self.results: list[int] = []
                self.thread = threading.Thread(target=self.run)
                self.thread.start()

            def run(self) -> None:
                for number in range(20):
                    self.results.append(ray.get(double.remote(number)))

            def ping(self) -> int:
                return len(self.results)

            def join(self) -> list[int]:
                self.thread.join()
                return self.results

        background = Background.remote()
        ray.get([background.ping.remote() for _ in range(20)])
        assert ray.get(background.join.remote(), timeout=20) == [2 * n for n in range(20)]

    def test_a_threaded_actor_runs_calls_at_once(self) -> None:
        @ray.remote(max_concurrency=3)
        class Threads:
            def __init__(self) -> None:
                self.barrier = threading.Barrier(3)

            def meet(self) -> bool:
                self.barrier.wait(timeout=20)
                return True

        threads = Threads.remote()
        assert ray.get([threads.meet.remote() for _ in range(6)], timeout=30) == [True] * 6

    def test_a_plain_actor_runs_one_call_at_a_time(self) -> None:
        @ray.remote
        class Single:
            def __init__(self) -> None:
                self.now = self.most = 0

            def enter(self) -> int:
                self.now += 1
                self.most = max(self.most, self.now)
                threading.Event().wait(0.001)
                self.now -= 1
                return self.most

        single = Single.remote()
        assert max(ray.get([single.enter.remote() for _ in range(10)])) == 1

    def test_the_runtime_context_of_an_actor(self) -> None:
        @ray.remote(num_cpus=1)
        class Looker:
            def look(self) -> dict[str, Any]:
                context = ray.get_runtime_context()
                return {
                    "actor": context.get_actor_id(),
                    "name": context.get_actor_name(),
                    "task": context.get_task_id(),
                    "me": context.current_actor,
                    "restarted": context.was_current_actor_reconstructed,
                }

        looker = Looker.options(name="lookout").remote()
        first, second = ray.get([looker.look.remote(), looker.look.remote()])
        assert first["actor"] == second["actor"]
        assert first["actor"] is not None
        assert first["task"] != second["task"]
        assert first["name"] == "lookout"
        assert first["me"] == looker
        assert first["restarted"] is False
        ray.kill(looker)

    def test_waiting_for_the_actor_to_be_ready(self) -> None:
        counter = counter_class().remote()
        ray.get(counter.__ray_ready__.remote(), timeout=20)

    def test_calls_of_many_threads_reach_one_actor(self) -> None:
        counter = counter_class().remote()
        results: list[int] = []

        def drive() -> None:
            results.extend(ray.get([counter.add.remote() for _ in range(25)]))

        threads = [threading.Thread(target=drive) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == list(range(1, 101))

    def test_calls_of_one_caller_stay_in_order_when_an_argument_is_late(
        self, tmp_path: Path
    ) -> None:
        gate = Gate(tmp_path)

        @ray.remote
        def late() -> int:
            gate.wait()
            return 10

        @ray.remote
        class Log:
            def __init__(self) -> None:
                self.seen: list[int] = []

            def note(self, x: int) -> list[int]:
                self.seen.append(x)
                return self.seen

        log = Log.remote()
        refs = [log.note.remote(late.remote()), log.note.remote(20)]
        gate.open()
        assert ray.get(refs[1], timeout=20) == [10, 20]
        ray.get(refs[0])
