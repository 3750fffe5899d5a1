"""Programs of Core: tasks, errors, objects, generators, actors, names, cancelling, graphs."""

import asyncio
import os
import sys
import time

from outcomes import library, main, program, raised

# Tasks


@program
def a_task(ray):
    return ray.get(ray.remote(lambda x, y=1: x + y).remote(1, y=3))


@program
def a_reference_is_resolved_at_the_top_only(ray):
    kinds = ray.remote(lambda a, b: [type(a).__name__, type(b[0]).__name__])
    ref = ray.put(1)
    return ray.get(kinds.remote(ref, [ref]))


@program
def several_results(ray):
    pair = ray.remote(num_returns=2)(lambda: (1, 2))
    refs = pair.remote()
    return [type(refs).__name__, ray.get(refs)]


@program
def no_result(ray):
    return repr(ray.remote(num_returns=0)(lambda: None).remote())


@program
def too_few_results(ray):
    return raised(lambda: ray.get(ray.remote(num_returns=3)(lambda: (1, 2)).remote()), "3")


@program
def one_result_for_many(ray):
    return raised(lambda: ray.get(ray.remote(num_returns=2)(lambda: 5).remote()))


@program
def a_task_called_directly(ray):
    return raised(lambda: ray.remote(lambda: 1)(), "directly")


@program
def a_missing_argument(ray):
    return raised(lambda: ray.remote(lambda a: a).remote())


@program
def one_argument_too_many(ray):
    return raised(lambda: ray.remote(lambda a: a).remote(1, 2), "too many positional arguments")


@program
def an_unknown_argument(ray):
    return raised(
        lambda: ray.remote(lambda a: a).remote(1, b=2), "unexpected keyword argument", "'b'"
    )


@program
def an_unknown_option(ray):
    return raised(lambda: ray.remote(lambda: 1).options(nonsense=1))


@program
def negative_cpus(ray):
    return raised(lambda: ray.remote(num_cpus=-1)(lambda: 1))


@program
def negative_results(ray):
    return raised(lambda: ray.remote(num_returns=-1)(lambda: 1))


@program
def options_make_another_function(ray):
    def where():
        return ray.get_runtime_context().get_assigned_resources()

    plain = ray.remote(where)
    two = plain.options(num_cpus=2)
    return [ray.get(two.remote()).get("CPU"), ray.get(plain.remote()).get("CPU")]


@program
def nested_tasks(ray):
    inner = ray.remote(lambda x: x + 1)
    outer = ray.remote(lambda x: ray.get(inner.remote(x)) * 2)
    return ray.get(outer.remote(3))


@program
def a_reference_returned_is_a_reference(ray):
    make = ray.remote(lambda: ray.put(4))
    inner = ray.get(make.remote())
    return [type(inner).__name__, ray.get(inner)]


@program
def an_async_function_is_no_task(ray):
    async def later():
        return 1

    return raised(lambda: ray.remote(later))


@program
def a_task_s_name(ray):
    def name():
        return ray.get_runtime_context().get_task_name()

    return ray.get(ray.remote(name).options(name="mine").remote())


@program
def decorating_what_is_neither_function_nor_class(ray):
    return raised(lambda: ray.remote(3))


@program
def a_retried_error(ray):
    @ray.remote
    class Tries:
        def __init__(self):
            self.n = 0

        def next(self):
            self.n += 1
            return self.n

    tries = Tries.remote()

    @ray.remote(max_retries=3, retry_exceptions=[ValueError])
    def third(counter):
        n = ray.get(counter.next.remote())
        if n < 3:
            raise ValueError(n)
        return n

    return ray.get(third.remote(tries))


# Errors


@program
def an_error_is_also_its_cause(ray):
    def fail():
        raise KeyError("lost key")

    return raised(lambda: ray.get(ray.remote(fail).remote()), "lost key", "fail")


class Mine(Exception):
    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code


@program
def an_error_of_one_s_own_keeps_its_attributes(ray):
    def fail():
        raise Mine(7, "seven")

    try:
        ray.get(ray.remote(fail).remote())
    except Mine as error:
        return [error.cause.code, isinstance(error, ray.exceptions.RayTaskError)]


@program
def an_error_of_an_argument_is_the_error(ray):
    def fail():
        raise ValueError("first")

    use = ray.remote(lambda x: x)
    return raised(lambda: ray.get(use.remote(ray.remote(fail).remote())), "first")


@program
def a_nested_error(ray):
    def fail():
        raise ValueError("deep")

    inner = ray.remote(fail)
    outer = ray.remote(lambda: ray.get(inner.remote()))
    return raised(lambda: ray.get(outer.remote()), "deep")


@program
def get_of_a_list_raises_an_error_in_it(ray):
    def fail(text):
        raise ValueError(text)

    fails = ray.remote(fail)
    return raised(lambda: ray.get([ray.put(1), fails.remote("one"), ray.put(2)]), "one")


@program
def an_error_that_is_no_exception(ray):
    def leave():
        raise KeyboardInterrupt

    return raised(lambda: ray.get(ray.remote(max_retries=0)(leave).remote()))


@program
def a_dead_worker(ray):
    return raised(lambda: ray.get(ray.remote(max_retries=0)(lambda: os._exit(1)).remote()))


@program
def an_exiting_task(ray):
    return raised(lambda: ray.get(ray.remote(max_retries=0)(lambda: sys.exit(3)).remote()))


@program
def an_unpicklable_argument(ray):
    import threading

    return raised(lambda: ray.remote(lambda x: x).remote(threading.Lock()), "lock")


@program
def an_unpicklable_result(ray):
    import threading

    return raised(lambda: ray.get(ray.remote(lambda: threading.Lock()).remote()), "lock")


# Objects


@program
def put_and_get(ray):
    return ray.get([ray.put(n) for n in (1, "two", [3], {"four": 4}, None)])


@program
def put_of_a_reference(ray):
    return raised(lambda: ray.put(ray.put(1)))


@program
def get_of_no_reference(ray):
    return [raised(lambda: ray.get(3)), raised(lambda: ray.get([3])), raised(lambda: ray.get("x"))]


@program
def get_of_an_empty_list(ray):
    return ray.get([])


@program
def get_times_out(ray):
    ref = ray.remote(lambda: time.sleep(2)).remote()
    outcome = raised(lambda: ray.get(ref, timeout=0.05))
    ray.get(ref)
    return outcome


@program
def get_with_a_negative_timeout(ray):
    return raised(lambda: ray.get(ray.put(1), timeout=-1))


@program
def arrays_are_read_only(ray):
    import numpy as np

    array = ray.get(ray.put(np.zeros(100_000)))
    return raised(lambda: array.__setitem__(0, 1), "read-only")


@program
def references_compare_and_hash(ray):
    ref = ray.put(1)
    same = ray.get(ray.put([ref]))[0]
    return [ref == same, len({ref, same}), ref == 1, len(ref.hex()) == 2 * len(ref.binary())]


@program
def a_snapshot_is_kept(ray):
    value = [1]
    ref = ray.put(value)
    value.append(2)
    return ray.get(ref)


@program
def a_future_of_a_reference(ray):
    return ray.remote(lambda: 5).remote().future().result(timeout=20)


# wait


@program
def wait_splits(ray):
    refs = [ray.put(n) for n in range(3)]
    ready, rest = ray.wait(refs, num_returns=2)
    return [len(ready), len(rest), sorted(map(refs.index, ready + rest))]


@program
def wait_times_out(ray):
    slow = ray.remote(lambda: time.sleep(1)).remote()
    quick = ray.put(1)
    ready, rest = ray.wait([slow, quick], num_returns=2, timeout=0.2)
    ray.get(slow)
    return [ready == [quick], rest == [slow]]


@program
def wait_refuses(ray):
    ref = ray.put(1)
    return [
        raised(lambda: ray.wait(ref)),
        raised(lambda: ray.wait([ref, ref])),
        raised(lambda: ray.wait([ref], num_returns=0)),
        raised(lambda: ray.wait([ref], num_returns=2)),
        raised(lambda: ray.wait([1])),
        raised(lambda: ray.wait([ref], timeout=-1)),
        repr(ray.wait([])),
    ]


@program
def wait_for_a_failed_task(ray):
    def fail():
        raise ValueError

    ready, rest = ray.wait([ray.remote(fail).remote()])
    return [len(ready), len(rest)]


# Generators


def numbers(n):
    # Not `yield from`: Ray 2.60 sends something into generators.
    for i in range(n):  # noqa: UP028
        yield i


@program
def a_generator_streams(ray):
    stream = ray.remote(numbers).remote(3)
    return [type(stream).__name__, [ray.get(ref) for ref in stream]]


@program
def a_generator_that_fails(ray):
    def breaks():
        yield 1
        raise ValueError("middle")

    refs = list(ray.remote(breaks).remote())
    return [len(refs), ray.get(refs[0]), raised(lambda: ray.get(refs[1]), "middle")]


@program
def a_generator_that_fails_at_once(ray):
    def breaks():
        raise ValueError("start")
        yield 1

    refs = list(ray.remote(breaks).remote())
    return [len(refs), raised(lambda: ray.get(refs[0]), "start")]


@program
def the_end_of_a_stream(ray):
    stream = ray.remote(numbers).remote(1)
    next(stream)
    ray.get(stream.completed())
    return [raised(lambda: next(stream)), stream.is_finished(), stream.next_ready()]


@program
def a_finished_stream_before_it_is_taken(ray):
    stream = ray.remote(numbers).remote(2)
    ray.get(stream.completed())
    return [stream.is_finished(), stream.next_ready(), len(list(stream)), stream.is_finished()]


@program
def dynamic_results(ray):
    items = ray.get(ray.remote(num_returns="dynamic")(numbers).remote(3))
    return [type(items).__name__, len(items), [ray.get(ref) for ref in items], len(items)]


@program
def a_generator_with_two_results(ray):
    return ray.get(ray.remote(num_returns=2)(numbers).remote(2))


@program
def a_generator_with_one_result(ray):
    return ray.get(ray.remote(num_returns=1)(numbers).remote(1))


@program
def wait_with_a_stream(ray):
    stream = ray.remote(numbers).remote(2)
    ready, rest = ray.wait([stream, ray.put(1)], num_returns=2)
    return [[type(item).__name__ for item in ready], rest, ray.get(next(stream))]


# Actors


class Counter:
    def __init__(self, start=0):
        self.n = start

    def add(self, by=1):
        self.n += by
        return self.n

    def fail(self):
        raise ValueError("in a method")

    def die(self):
        os._exit(1)

    def pid(self):
        return os.getpid()

    @property
    def value(self):
        return self.n

    @staticmethod
    def fixed():
        return "static"

    @classmethod
    def kind(cls):
        return cls.__name__

    def each(self, n):
        for i in range(n):  # noqa: UP028
            yield i


@program
def an_actor_keeps_its_state(ray):
    counter = ray.remote(Counter).remote(10)
    return ray.get([counter.add.remote(), counter.add.remote(by=5)])


@program
def an_actor_s_other_methods(ray):
    counter = ray.remote(Counter).remote()
    return [
        ray.get(counter.fixed.remote()),
        ray.get(counter.kind.remote()),
        [ray.get(ref) for ref in counter.each.remote(3)],
    ]


@program
def an_error_in_a_method(ray):
    counter = ray.remote(Counter).remote()
    return [
        raised(lambda: ray.get(counter.fail.remote()), "in a method"),
        ray.get(counter.add.remote()),
    ]


@program
def a_method_that_is_not_there(ray):
    counter = ray.remote(Counter).remote()
    return [raised(lambda: counter.nothing, "nothing"), raised(lambda: counter.add(1), "directly")]


@program
def a_class_called_directly(ray):
    return raised(lambda: ray.remote(Counter)(), "directly")


@program
def arguments_that_do_not_fit(ray):
    counter = ray.remote(Counter).remote()
    return [
        raised(lambda: ray.remote(Counter).remote(1, 2)),
        raised(lambda: counter.add.remote(1, 2)),
    ]


@program
def a_constructor_that_fails(ray):
    class Broken:
        def __init__(self):
            raise ValueError("born dead")

        def ping(self):
            return 1

    return raised(lambda: ray.get(ray.remote(Broken).remote().ping.remote()), "born dead")


@program
def an_actor_that_dies(ray):
    counter = ray.remote(Counter).remote()
    return [
        raised(lambda: ray.get(counter.die.remote())),
        raised(lambda: ray.get(counter.add.remote())),
    ]


@program
def a_killed_actor(ray):
    counter = ray.remote(Counter).remote()
    ray.get(counter.add.remote())
    ray.kill(counter)  # Ray's way: the actor may answer, or be out of reach, for a while
    outcome = raised(lambda: ray.get(counter.add.remote()))
    while outcome.get("raises") != ["ActorDiedError"]:
        time.sleep(0.1)
        outcome = raised(lambda: ray.get(counter.add.remote()))
    return outcome


@program
def kill_of_no_actor(ray):
    return [raised(lambda: ray.kill(3)), raised(lambda: ray.kill(ray.put(1)))]


@program
def an_actor_restarts(ray):
    counter = ray.remote(max_restarts=1, max_task_retries=1)(Counter).remote(5)
    first = ray.get(counter.add.remote())
    raised(lambda: ray.get(counter.die.remote()))
    return [first]


@program
def an_actor_exits(ray):
    class Leaver:
        def leave(self):
            ray.actor.exit_actor()

    leaver = ray.remote(Leaver).remote()
    return [
        raised(lambda: ray.get(leaver.leave.remote())),
        raised(lambda: ray.get(leaver.leave.remote())),
    ]


@program
def exit_actor_outside(ray):
    return raised(lambda: ray.actor.exit_actor())


@program
def handles_travel(ray):
    counter = ray.remote(Counter).remote()
    use = ray.remote(lambda c: ray.get(c.add.remote(2)))
    return [ray.get(use.remote(counter)), ray.get(counter.add.remote())]


@program
def results_of_methods(ray):
    class Pair:
        @ray.method(num_returns=2)
        def both(self):
            return 1, 2

    one, two = ray.remote(Pair).remote().both.remote()
    return ray.get([two, one])


@program
def calls_stay_in_order(ray):
    counter = ray.remote(Counter).remote()
    return ray.get([counter.add.remote() for _ in range(20)])


@program
def actors_are_not_inherited_from(ray):
    Base = ray.remote(Counter)

    def derive():
        class Derived(Base):
            pass

    return raised(derive)


@program
def max_concurrency_is_checked(ray):
    return raised(lambda: ray.remote(Counter).options(max_concurrency=0).remote())


@program
def too_many_pending_calls(ray):
    class Slow:
        def nap(self, seconds):
            time.sleep(seconds)

    slow = ray.remote(Slow).options(max_pending_calls=1).remote()
    ray.get(slow.nap.remote(0))
    held = slow.nap.remote(1000)  # not over, however slowly this goes on
    outcome = raised(lambda: slow.nap.remote(0))
    ray.kill(slow)
    del held
    return outcome


# Named actors


@program
def a_named_actor(ray):
    made = ray.remote(Counter).options(name="named").remote(1)
    ray.get(made.add.remote())
    return [ray.get(ray.get_actor("named").add.remote()), "named" in ray.util.list_named_actors()]


@program
def a_name_taken(ray):
    first = ray.remote(Counter).options(name="taken").remote()
    ray.get(first.add.remote())
    return raised(lambda: ray.remote(Counter).options(name="taken").remote(), "taken")


@program
def get_if_exists(ray):
    both = [
        ray.remote(Counter).options(name="shared", get_if_exists=True).remote() for _ in range(2)
    ]
    return ray.get([actor.add.remote() for actor in both])


@program
def a_name_that_is_not_there(ray):
    return [raised(lambda: ray.get_actor("nobody"), "nobody"), raised(lambda: ray.get_actor(""))]


@program
def an_empty_name(ray):
    return raised(lambda: ray.remote(Counter).options(name="").remote())


@program
def namespaces_part_names(ray):
    there = ray.remote(Counter).options(name="apart", namespace="elsewhere").remote()
    ray.get(there.add.remote())
    return [
        raised(lambda: ray.get_actor("apart")),
        ray.get(ray.get_actor("apart", namespace="elsewhere").add.remote()),
    ]


# asyncio


class Later:
    async def double(self, x):
        await asyncio.sleep(0.01)
        return 2 * x

    async def each(self, n):
        for i in range(n):
            yield i

    async def fail(self):
        raise ValueError("later")


@program
def an_async_actor(ray):
    later = ray.remote(Later).remote()
    return [
        ray.get([later.double.remote(n) for n in range(3)]),
        [ray.get(r) for r in later.each.remote(2)],
    ]


@program
def an_error_in_a_coroutine(ray):
    return raised(lambda: ray.get(ray.remote(Later).remote().fail.remote()), "later")


@program
def awaiting_references(ray):
    double = ray.remote(lambda x: 2 * x)

    async def main():
        return [await double.remote(1), *await asyncio.gather(*(double.remote(n) for n in (2, 3)))]

    return asyncio.run(main())


@program
def awaiting_with_a_limit(ray):
    async def main():
        slow = ray.remote(lambda: time.sleep(1)).remote()
        try:
            await asyncio.wait_for(slow, 0.05)
        except TimeoutError:
            return "timed out"

    return asyncio.run(main())


@program
def a_stream_in_a_coroutine(ray):
    async def main():
        return [await ref async for ref in ray.remote(numbers).remote(3)]

    return asyncio.run(main())


# cancel


@program
def cancel_of_a_running_task(ray):
    def nap():
        while True:
            time.sleep(0.01)

    ref = ray.remote(nap).remote()
    ray.wait([ref], timeout=1)
    ray.cancel(ref)
    return raised(lambda: ray.get(ref, timeout=20))


@program
def cancel_of_a_finished_task(ray):
    ref = ray.remote(lambda: 1).remote()
    ray.get(ref)
    ray.cancel(ref)
    return ray.get(ref)


@program
def cancel_of_no_reference(ray):
    return [raised(lambda: ray.cancel(3)), raised(lambda: ray.cancel(ray.remote(Counter).remote()))]


@program
def cancel_by_force_of_an_actor_s_call(ray):
    counter = ray.remote(Counter).remote()
    ray.get(counter.add.remote())
    return raised(lambda: ray.cancel(counter.add.remote(), force=True))


# Graphs, small tools, what there is


@program
def a_graph(ray):
    from importlib import import_module

    dag = import_module(f"{ray.__name__}.dag")
    add = ray.remote(lambda a, b: a + b)
    with dag.InputNode() as given:
        graph = dag.MultiOutputNode(
            [add.bind(given[0], given.by), add.bind(add.bind(1, 1), given[0])]
        )
    return ray.get(graph.execute(1, by=2))


@program
def a_pool_of_actors(ray):
    pool = ray.util.ActorPool([ray.remote(Counter).remote() for _ in range(2)])
    return sorted(pool.map(lambda actor, n: actor.add.remote(n), [1, 1]))


@program
def as_completed(ray):
    double = ray.remote(lambda x: 2 * x)
    return sorted(ray.util.as_completed([double.remote(n) for n in range(4)]))


@program
def what_there_is(ray):
    total = ray.cluster_resources()
    return [total["CPU"], "memory" in total, "object_store_memory" in total, len(ray.nodes())]


@program
def the_context_of_a_task(ray):
    def look():
        context = ray.get_runtime_context()
        return [context.get_actor_id(), bool(context.get_task_id()), bool(context.get_node_id())]

    return ray.get(ray.remote(look).remote())


@program
def the_context_of_the_driver(ray):
    context = ray.get_runtime_context()
    return [context.get_task_id(), context.get_actor_id(), bool(context.get_job_id())]


@program
def a_second_init(ray):
    return [
        raised(lambda: ray.init()),
        ray.is_initialized(),
        type(ray.init(ignore_reinit_error=True)).__name__,
    ]


# Names, groups, environments, small tools


@program
def names_of_tasks_and_functions(ray):
    def look():
        context = ray.get_runtime_context()
        # Ray calls the module of a script by its file's name.
        function = context.get_task_function_name().partition(".")[2]
        return [context.get_task_name(), function]

    class Looker:
        def look(self):
            return look()

    looker = ray.remote(Looker).remote()
    return ray.get(
        [
            ray.remote(look).options(name="my task").remote(),
            looker.look.options(name="my call").remote(),
        ]
    )


@program
def defaults_and_keywords(ray):
    f = ray.remote(lambda a, *args, b=2, **more: [a, list(args), b, sorted(more.items())])
    return [
        ray.get(f.remote(1, 2, 3, b=4, z=5)),
        ray.get(f.remote(ray.put(1), b=ray.put(2))),
        raised(lambda: f.remote()),
    ]


@program
def methods_of_all_kinds(ray):
    class Base:
        def plain(self):
            return "base"

        @staticmethod
        def static():
            return "static"

        @classmethod
        def of_class(cls):
            return cls.__name__

        def __call__(self):
            return "call"

    class Derived(Base):
        def over(self):
            return super().plain() + "+"

    actor = ray.remote(Derived).remote()
    names = ["over", "plain", "static", "of_class", "__call__"]
    return [raised(lambda name=name: ray.get(getattr(actor, name).remote())) for name in names]


@program
def a_group_of_calls_at_once(ray):
    @ray.remote(concurrency_groups={"io": 2})
    class Grouped:
        @ray.method(concurrency_group="io")
        async def one(self):
            return 1

        async def two(self):
            return 2

    actor = Grouped.remote()
    calls = [actor.one, actor.two, actor.two.options(concurrency_group="io")]
    return ray.get([call.remote() for call in calls])


@program
def an_empty_namespace(ray):
    return raised(lambda: ray.remote(Counter).options(namespace="").remote())


@program
def an_actor_s_name_that_is_no_string(ray):
    return [raised(lambda: ray.get_actor(5)), raised(lambda: ray.get_actor(""))]


@program
def options_that_a_method_has_not(ray):
    actor = ray.remote(Counter).remote()
    return [
        raised(lambda: actor.add.options(num_cpus=1).remote()),
        raised(lambda: actor.add.options(nonsense=1).remote()),
    ]


@program
def a_placement_group(ray):
    strategies = library(ray, "util.scheduling_strategies")
    group = ray.util.placement_group([{"CPU": 1}, {"CPU": 1}], name="theirs and ours")
    inside = strategies.PlacementGroupSchedulingStrategy(group)
    look = ray.remote(lambda: ray.util.get_current_placement_group() is not None)
    wide = look.options(num_cpus=3, scheduling_strategy=inside)
    outcome = [
        group.wait(10),
        group.bundle_count,
        group.bundle_specs,
        ray.get(look.options(scheduling_strategy=inside).remote()),
        ray.util.get_placement_group("theirs and ours").id == group.id,
        raised(lambda: wide.remote()),
        raised(lambda: ray.util.get_placement_group("nobody's")),
    ]
    ray.util.remove_placement_group(group)
    return outcome


@program
def placement_groups_that_make_no_sense(ray):
    bad = [[], [{}], [{"CPU": 0}], {"CPU": 1}]
    make = ray.util.placement_group
    return [
        *(raised(lambda bundles=bundles: make(bundles)) for bundles in bad),
        raised(lambda: make([{"CPU": 1}], strategy="NEAR")),
        raised(lambda: make([{"CPU": 1}], lifetime="long")),
    ]


@program
def an_environment(ray):
    look = ray.remote(lambda: os.environ.get("COLOUR"))
    bad = [5, {"env_vars": {"COLOUR": 1}}, {"env_vars": 5}, {"working_dir": "/not/there"}]
    return [
        ray.get(look.options(runtime_env={"env_vars": {"COLOUR": "red"}}).remote()),
        *(raised(lambda env=env: look.options(runtime_env=env).remote()) for env in bad),
    ]


@program
def a_queue_that_is_full_or_empty(ray):
    shared = library(ray, "util.queue").Queue(maxsize=1)
    shared.put(1)
    return [
        raised(lambda: shared.put_nowait(2)),
        shared.get(),
        raised(lambda: shared.get_nowait()),
        raised(lambda: shared.get(timeout=-1)),
        raised(lambda: shared.get_nowait_batch("x")),
    ]


@program
def a_pool_of_processes(ray):
    pool = library(ray, "util.multiprocessing").Pool(2)
    outcome = [
        pool.map(abs, [-1, 2]),
        pool.starmap(pow, [(2, 3)]),
        sorted(pool.imap_unordered(abs, [-1, -2])),
        pool.apply_async(abs, (-3,)).get(20),
        raised(lambda: pool.map(len, [5])),
    ]
    pool.close()
    outcome.append(raised(lambda: pool.map(abs, [1])))
    pool.terminate()
    return outcome


@program
def metrics_that_make_no_sense(ray):
    metrics = library(ray, "util.metrics")
    counter = metrics.Counter("counted", tag_keys=("of",))
    return [
        raised(lambda: counter.inc(-1, tags={"of": "x"})),
        raised(lambda: counter.inc(1, tags={"unknown": "x"})),
        raised(lambda: metrics.Histogram("spread", boundaries=[-1, 2])),
        raised(lambda: metrics.Counter("")),
        raised(lambda: metrics.Counter("other", tag_keys="abc")),
    ]


@program
def less_at_once_than_a_chunk(ray):
    square = ray.remote(lambda x: x * x)
    return sorted(ray.util.map_unordered(square, range(4), backpressure_size=2))


@program
def cancel_of_a_waiting_task_and_by_force(ray):
    slow = ray.remote(num_cpus=4)(lambda: time.sleep(20))
    running, waiting = slow.remote(), slow.remote()
    ray.cancel(waiting)
    outcome = [raised(lambda: ray.get(waiting, timeout=20))]
    ray.cancel(running, force=True)
    return [*outcome, raised(lambda: ray.get(running, timeout=20))]


@program
def an_actor_ready_and_called_by_hand(ray):
    actor = ray.remote(Counter).remote()
    return [
        ray.get(actor.__ray_ready__.remote()),
        ray.get(actor.__ray_call__.remote(lambda self, more: self.add() + more, 5)),
    ]


if __name__ == "__main__":
    main()
