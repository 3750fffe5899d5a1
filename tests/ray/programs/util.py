"""Programs of util: pools of actors and processes, queues, groups, joblib, metrics, small tools."""

import threading

from outcomes import library, main, program, raised

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


if __name__ == "__main__":
    main("util.queue", "util.multiprocessing", "util.metrics", "util.joblib")
