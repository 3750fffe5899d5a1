"""Programs of util: pools of actors and processes, queues, groups, joblib, metrics, small tools."""

import asyncio
import os
import threading
import time

import joblib
from outcomes import library, main, program, raised, refused

# Pools, queues, groups


@program
def an_actor_pool_keeps_the_order(ray):
    from_pool = library(ray, "util").ActorPool

    @ray.remote
    class Doubler:
        def double(self, n):
            return 2 * n

    pool = from_pool([Doubler.remote(), Doubler.remote()])
    ordered = list(pool.map(lambda actor, n: actor.double.remote(n), [1, 2, 3, 4]))
    loose = sorted(pool.map_unordered(lambda actor, n: actor.double.remote(n), [1, 2, 3]))
    return [ordered, loose, pool.has_next(), pool.has_free()]


@program
def a_queue_is_full_and_empty(ray):
    queues = library(ray, "util.queue")
    queue = queues.Queue(maxsize=2)
    queue.put(1)
    queue.put_nowait(2)
    seen = [queue.size(), queue.full(), queue.empty()]
    full = raised(lambda: queue.put_nowait(3))
    seen += [queue.get(), queue.get_nowait(), queue.empty()]
    late = raised(lambda: queue.get(timeout=0.1))
    queue.shutdown()
    return [seen, full, late]


@program
def a_queue_takes_many_at_once(ray):
    queues = library(ray, "util.queue")
    queue = queues.Queue(maxsize=3)
    queue.put_nowait_batch([1, 2])
    over = raised(lambda: queue.put_nowait_batch([3, 4]))
    return [over, queue.get_nowait_batch(2), raised(lambda: queue.get_nowait_batch(1))]


@program
def a_queue_refuses_a_negative_timeout(ray):
    queues = library(ray, "util.queue")
    queue = queues.Queue()
    return [raised(lambda: queue.get(timeout=-1)), raised(lambda: queue.put(1, timeout=-1))]


@program
def a_pool_of_processes_maps(ray):
    pool = library(ray, "util.multiprocessing").Pool(2)
    found = [
        pool.map(lambda n: n + 1, range(4)),
        pool.starmap(lambda a, b: a * b, [(1, 2), (3, 4)]),
        list(pool.imap(lambda n: -n, [1, 2])),
        pool.apply(lambda: "once"),
        pool.apply_async(lambda: "later").get(timeout=20),
    ]
    pool.terminate()
    return found


@program
def a_pool_tells_the_error_of_its_function(ray):
    pool = library(ray, "util.multiprocessing").Pool(1)
    wrong = raised(lambda: pool.map(lambda n: 1 // n, [1, 0]), "division")
    pool.terminate()
    return wrong["says"]


@program
def a_placement_group_tells_its_bundles(ray):
    util = library(ray, "util")
    group = util.placement_group([{"CPU": 1}, {"CPU": 1}], strategy="PACK", name="two")
    ray.get(group.ready())
    found = [group.bundle_count, group.bundle_specs, util.get_placement_group("two") == group]
    util.remove_placement_group(group)
    return found


@program
def a_placement_group_is_checked(ray):
    util = library(ray, "util")
    return [
        raised(lambda: util.placement_group([])),
        raised(lambda: util.placement_group([{}])),
        raised(lambda: util.placement_group([{"CPU": 0}])),
        raised(lambda: util.placement_group([{"CPU": 1}], strategy="NEAR")),
        raised(lambda: util.placement_group({"CPU": 1})),
        raised(lambda: util.placement_group([{"CPU": 1}], lifetime="for ever")),
        raised(lambda: util.get_placement_group("nobody")),
    ]


@program
def metrics_are_checked(ray):
    metrics = library(ray, "util.metrics")
    counter = metrics.Counter("seen", tag_keys=("kind",))
    return [
        raised(lambda: counter.inc(-1, tags={"kind": "a"})),
        raised(lambda: counter.inc(0, tags={"kind": "a"})),
        raised(lambda: counter.inc(1, tags={"other": "a"})),
        raised(lambda: counter.set_default_tags({"other": "a"})),
        raised(lambda: metrics.Histogram("sizes", boundaries=[])),
        raised(lambda: metrics.Histogram("sizes", boundaries=[-1, 2])),
        raised(lambda: metrics.Gauge("")),
        raised(lambda: metrics.Counter("seen", tag_keys=[1])),
    ]


@program
def serializability_is_looked_into(ray):
    inspect = library(ray, "util").inspect_serializability
    lock = threading.Lock()
    good, none = inspect(lambda: 1)
    bad, found = inspect(lambda: lock)
    return [good, len(none), bad, len(found)]


@program
def named_actors_are_listed(ray):
    util = library(ray, "util")

    @ray.remote
    class Named:
        pass

    kept = Named.options(name="listed").remote()
    ray.get(kept.__ray_ready__.remote())
    return ["listed" in util.list_named_actors(), raised(lambda: ray.get_actor("nobody"))]


@program
def an_actor_pool_by_hand(ray):
    @ray.remote
    class Doubler:
        def double(self, n):
            time.sleep(0.2 if n == 1 else 0)
            return 2 * n

    pool = ray.util.ActorPool([Doubler.remote(), Doubler.remote()])

    def double(actor, n):
        return actor.double.remote(n)

    for n in (1, 2, 3):
        pool.submit(double, n)
    found = [pool.get_next(), pool.get_next_unordered(), pool.get_next_unordered()]
    one = pool.pop_idle()
    pool.push(one)
    return [
        found[0],
        sorted(found[1:]),
        pool.has_next(),
        raised(lambda: pool.get_next()),
        raised(lambda: pool.get_next_unordered()),
        raised(lambda: pool.push(one)),
        [pool.pop_idle() is not None, pool.pop_idle() is not None, pool.pop_idle()],
    ]


@program
def an_actor_pool_tells_errors_and_limits(ray):
    @ray.remote
    class Worker:
        def work(self, n):
            if n < 0:
                raise ValueError("below")
            time.sleep(n)
            return n

    pool = ray.util.ActorPool([Worker.remote()])

    def work(actor, n):
        return actor.work.remote(n)

    pool.submit(work, -1)
    failed = raised(lambda: pool.get_next(), "below")
    pool.submit(work, 1)
    late = raised(lambda: pool.get_next(timeout=0.05))
    return [failed, late, pool.get_next(timeout=20)]


@program
def a_queue_between_tasks(ray):
    queue = library(ray, "util.queue").Queue()

    @ray.remote
    def give(queue, n):
        queue.put(n)

    @ray.remote
    def take(queue):
        return queue.get(timeout=20)

    ray.get([give.remote(queue, n) for n in range(3)])
    found = sorted(ray.get([take.remote(queue) for _ in range(3)]))
    return [found, queue.qsize(), len(queue), queue.empty()]


@program
def a_queue_in_a_coroutine(ray):
    queue = library(ray, "util.queue").Queue(maxsize=1)

    async def both():
        await queue.put_async(1)
        return await queue.get_async()

    async def late():
        await queue.get_async(timeout=0.05)

    return [asyncio.run(both()), refused(lambda: asyncio.run(late()))]


@program
def a_queue_s_options(ray):
    queues = library(ray, "util.queue")
    named = queues.Queue(actor_options={"name": "a queue"})
    named.put("x")
    ray.get_actor("a queue")
    bad = refused(lambda: queues.Queue(actor_options={"nonsense": 1}))
    named.shutdown()
    return [bad, isinstance(queues.Empty(), Exception), isinstance(queues.Full(), Exception)]


@program
def a_pool_s_other_methods(ray):
    made = library(ray, "util.multiprocessing")
    outcome = []
    with made.Pool(2, initializer=os.putenv, initargs=("A", "b")) as pool:
        later = pool.map_async(abs, [-1, -2])
        outcome += [later.get(20), later.ready(), later.successful()]
        outcome += [pool.starmap_async(pow, [(2, 2)]).get(20)]
        outcome += [list(pool.imap(abs, [-1, -2], chunksize=2))]
        slow = pool.apply_async(time.sleep, (1,))
        outcome += [refused(lambda: slow.get(timeout=0.05)), refused(lambda: slow.successful())]
        heard = []
        pool.apply_async(abs, (-5,), callback=heard.append).get(20)
        slow.wait(20)
    outcome.append(refused(lambda: pool.apply(abs, (1,))))
    return outcome


@program
def joblib_on_workers(ray):
    library(ray, "util.joblib").register_ray()

    def double(n):
        return 2 * n

    def broken(n):
        raise ValueError("in joblib")

    with joblib.parallel_config(backend="ray", n_jobs=2):
        found = joblib.Parallel()(joblib.delayed(double)(n) for n in range(4))
        wrong = refused(lambda: joblib.Parallel()([joblib.delayed(broken)(1)]), "in joblib")
    return [found, wrong["says"], wrong["raises"][-2:]]


@program
def functions_over_items(ray):
    square = ray.remote(lambda x: x * x)
    util = ray.util
    return [
        sorted(util.as_completed([square.remote(n) for n in range(4)], chunk_size=2)),
        sorted(util.map_unordered(square, range(4))),
        [ray.get(ref) for ref in util.map_unordered(square, [3], yield_obj_refs=True)],
        refused(lambda: list(util.map_unordered(lambda x: x, [1]))),
        refused(lambda: list(util.as_completed([]))),
    ]


@program
def log_once_and_addresses(ray):
    util = ray.util
    return [
        [util.log_once("a key of ours"), util.log_once("a key of ours")],
        type(util.get_node_ip_address()).__name__,
    ]


@program
def serializers_of_one_s_own(ray):
    class Closed:
        def __init__(self, n):
            self.n, self.lock = n, threading.Lock()

    util = ray.util
    util.register_serializer(Closed, serializer=lambda c: c.n, deserializer=lambda n: Closed(n + 1))
    found = ray.get(ray.put(Closed(1))).n
    util.deregister_serializer(Closed)
    return [found, refused(lambda: ray.put(Closed(1)))["raises"][:1]]


@program
def a_placement_group_s_table(ray):
    group = ray.util.placement_group([{"CPU": 1}], strategy="SPREAD", name="tabled")
    ray.get(group.ready())
    table = ray.util.placement_group_table(group)
    every = ray.util.placement_group_table()
    ray.util.remove_placement_group(group)
    gone = ray.util.placement_group_table(group)
    return [
        {key: table[key] for key in ("name", "strategy", "state", "bundles")},
        table["placement_group_id"] in every,
        gone["state"],
        raised(lambda: ray.util.get_placement_group("tabled")),
        raised(lambda: ray.util.remove_placement_group(5)),
    ]


@program
def work_in_a_placement_group(ray):
    strategies = library(ray, "util.scheduling_strategies")
    Inside = strategies.PlacementGroupSchedulingStrategy
    group = ray.util.placement_group([{"CPU": 1}, {"CPU": 2}])
    ray.get(group.ready())

    @ray.remote(num_cpus=1)
    def where():
        return ray.util.get_current_placement_group() is not None

    @ray.remote(num_cpus=1)
    class Actor:
        def where(self):
            return ray.util.get_current_placement_group() is not None

    second = Inside(group, placement_group_bundle_index=1)
    actor = Actor.options(scheduling_strategy=second).remote()
    outcome = [
        ray.get(where.options(scheduling_strategy=Inside(group)).remote()),
        ray.get(actor.where.remote()),
        ray.get(where.remote()),
        ray.util.get_current_placement_group(),
        raised(lambda: where.options(scheduling_strategy=Inside(group, 2)).remote()),
        raised(lambda: where.options(scheduling_strategy=Inside(group, -2)).remote()),
        raised(lambda: where.options(scheduling_strategy="NEAR").remote()),
        raised(lambda: where.options(scheduling_strategy=5).remote()),
    ]
    ray.kill(actor)
    ray.util.remove_placement_group(group)
    return outcome


@program
def strategies_by_name(ray):
    strategies = library(ray, "util.scheduling_strategies")
    here = ray.get_runtime_context().get_node_id()
    look = ray.remote(lambda: ray.get_runtime_context().get_node_id())
    affine = strategies.NodeAffinitySchedulingStrategy
    return [
        ray.get(look.options(scheduling_strategy="SPREAD").remote()) == here,
        ray.get(look.options(scheduling_strategy="DEFAULT").remote()) == here,
        ray.get(look.options(scheduling_strategy=affine(here, soft=False)).remote()) == here,
        raised(lambda: affine(here)),
    ]


if __name__ == "__main__":
    main("util.queue", "util.multiprocessing", "util.metrics", "util.joblib")
