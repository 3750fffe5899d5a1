"""Metrics: Ray's checks, sums over processes, Prometheus's text."""

import math
import os
import pickle
import re
import signal
import time

import pytest

import heliostat as ray
from heliostat.testing.clock import until
from heliostat.util.metrics import Counter, Gauge, Histogram, exposition

SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'(\{(?P<labels>([a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\["\\n])*",?)*)\})?'
    r" (?P<value>NaN|[+-]Inf|-?\d+(\.\d+)?(e[+-]\d+)?)"
)


@pytest.fixture(params=["local", "inline"])
def engine(request):
    with ray.init(engine="inline"):
        exposition()  # takes what other tests have recorded
    ray.init(engine=request.param, num_cpus=2)
    yield request.param
    ray.shutdown()


def samples():
    """The text, parsed strictly: each sample below the TYPE of its family, none twice."""
    found, family = {}, ""
    for line in exposition().splitlines():
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert kind in ("counter", "gauge", "histogram")
        elif not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            assert re.sub("_(bucket|sum|count)$", "", match["name"]) in (family, match["name"])
            assert match["name"].startswith(family)
            key = line.rpartition(" ")[0]
            assert key not in found
            found[key] = float(match["value"])
    return found


@ray.remote
def work(n):
    Counter("work_done", "Work.", tag_keys=("parity",)).inc(n, tags={"parity": "eo"[n % 2]})
    Histogram("work_size", boundaries=[1, 2.5]).observe(n)
    return os.getpid()


def test_counters_and_histograms_are_summed_over_all_processes(engine):
    Counter("work_done", "Work.", tag_keys=("parity",)).inc(tags={"parity": "e"})
    ray.get([work.remote(n) for n in range(1, 5)])
    found = samples()
    assert found['ray_work_done_total{parity="e"}'] == 7
    assert found['ray_work_done_total{parity="o"}'] == 4
    assert found['ray_work_size_bucket{le="1.0"}'] == 1
    assert found['ray_work_size_bucket{le="2.5"}'] == 2
    assert found['ray_work_size_bucket{le="+Inf"}'] == found["ray_work_size_count"] == 4
    assert found["ray_work_size_sum"] == 10
    assert "# HELP ray_work_done_total Work.\n# TYPE ray_work_done_total counter\n" in exposition()


def test_a_session_begins_with_nothing(engine):
    Counter("once").inc()
    assert samples()["ray_once_total"] == 1
    ray.shutdown()
    ray.init(engine=engine, num_cpus=1)
    assert samples() == {}


def test_what_is_recorded_before_a_session_belongs_to_the_next():
    ray.shutdown()
    with ray.init(engine="inline"):
        exposition()
    Counter("early_total").inc(2)
    with ray.init(engine="inline"):
        assert samples() == {"ray_early_total": 2}


@ray.remote(max_restarts=0)
class Server:
    def __init__(self):
        self.load = Gauge("load", tag_keys=("part",)).set_default_tags({"part": "all"})
        self.served = Counter("served")

    def serve(self, load):
        self.load.set(load)
        self.served.inc()
        return os.getpid()

    def serve_long(self, gate):
        self.served.inc(10)
        until(lambda: os.path.exists(gate), "the gate is open", 60)

    async def overlap(self):
        self.served.inc(100)

    def leave(self):
        self.served.inc(1000)
        ray.actor.exit_actor()


def test_gauges_are_told_apart_by_process_and_go_with_it_while_counters_stay(engine):
    if engine == "inline":
        pytest.skip("there is one process")
    one, two = Server.remote(), Server.remote()
    ray.get([one.serve.remote(3), two.serve.remote(4)])
    gauges = {key: value for key, value in samples().items() if "load" in key}
    assert sorted(gauges.values()) == [3, 4]
    assert all('WorkerId="' in key and 'part="all"' in key for key in gauges)
    ray.kill(one)
    until(lambda: list(samples().values()).count(4) == 1 and 3 not in samples().values(), "it went")
    assert samples()["ray_served_total"] == 2


def test_what_a_long_call_records_is_seen_meanwhile_and_kept_when_it_is_killed(engine, tmp_path):
    if engine == "inline":
        pytest.skip("nobody can look meanwhile")
    server = Server.remote()
    pid = ray.get(server.serve.remote(1))
    ref = server.serve_long.remote(str(tmp_path / "gate"))
    until(lambda: samples()["ray_served_total"] == 11, "it is seen")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(ref)
    assert samples()["ray_served_total"] == 11


def test_asyncio_actors_and_those_that_leave_hand_over_too(engine):
    server = Server.remote()
    ray.get([server.overlap.remote() for _ in range(3)])
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(server.leave.remote())
    assert samples()["ray_served_total"] == 1300


def test_tasks_may_read_too(engine):
    @ray.remote
    def read():
        Counter("mine").inc()
        return "ray_mine_total 1.0\n" in exposition()

    assert ray.get(read.remote())


def test_text_and_odd_names_are_escaped(engine):
    Gauge("odd", 'a "b"\nc\\', tag_keys=("1 x",)).set(math.nan, tags={"1 x": 'q"\\\n'})
    Counter("big").inc(float("inf"))
    text = exposition()
    assert '# HELP ray_odd a "b"\\nc\\\\\n' in text
    assert '_1_x="q\\"\\\\\\n"' in text
    (value,) = (value for key, value in samples().items() if key.startswith("ray_odd"))
    assert math.isnan(value)
    assert samples()["ray_big_total"] == math.inf


def test_one_name_for_two_things_shows_one_of_them(engine):
    Counter("twice_total").inc()
    Histogram("twice_total", boundaries=[1]).observe(1)
    assert samples() == {"ray_twice_total": 1}
    assert "# ray_twice_total is also recorded as another kind" in exposition()


@pytest.mark.alone
def test_recording_takes_about_a_microsecond():
    counter = Counter("fast", tag_keys=("a",))
    tags = {"a": "b"}
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(10_000):
            counter.inc(1, tags)
        best = min(best, (time.perf_counter() - start) / 10_000)
    empty = math.inf
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(10_000):
            pickle.dumps(1)
        empty = min(empty, (time.perf_counter() - start) / 10_000)
    assert best < 25 * empty


def test_a_metric_is_the_same_after_pickling():
    counter = Counter("c", "d", tag_keys=("x",)).set_default_tags({"x": "1"})
    counter.inc()
    assert pickle.loads(pickle.dumps(counter)).info == counter.info
    histogram = Histogram("h", "d", boundaries=[1, 2.5], tag_keys=("x",))
    assert pickle.loads(pickle.dumps(histogram)).info == {
        "name": "h",
        "description": "d",
        "tag_keys": ("x",),
        "default_tags": {},
        "boundaries": [1, 2.5],
    }


@pytest.mark.parametrize(
    ("mistake", "error", "says"),
    [
        (lambda: Counter(""), ValueError, "Empty name is not allowed"),
        (lambda: Counter("a", "", ["x"]), TypeError, "tag_keys should be a tuple type, got"),
        (lambda: Counter("a", "", (1,)), TypeError, "Tag keys must be str, got <class 'int'>"),
        (lambda: Counter("a").set_default_tags({"z": "1"}), ValueError, "Unrecognized tag key z"),
        (lambda: Counter("a", "", ("z",)).set_default_tags({"z": 1}), TypeError, "Tag values must"),
        (lambda: Counter("a", "", ("x", "y")).inc(), ValueError, r"for tag key\(s\): x,y"),
        (lambda: Counter("a", "", ("x",)).inc(1, {"x": 2}), TypeError, "Tag values must be str"),
        (lambda: Counter("a").inc(0), ValueError, "value must be >0, got 0"),
        (lambda: Counter("a").inc(math.nan), ValueError, "value must be >0, got nan"),
        (lambda: Counter("a").inc("1"), TypeError, "value must be int or float"),
        (lambda: Gauge("a").set("1"), TypeError, "value must be int or float"),
        (lambda: Histogram("a"), ValueError, "boundaries argument should be provided"),
        (lambda: Histogram("a", boundaries=[0, 1]), ValueError, "argument at index 0"),
        (lambda: Histogram("a", boundaries="ab"), TypeError, "value must be int or float"),
        (lambda: Histogram("a", boundaries=[1]).observe(math.nan), ValueError, "must be a number"),
    ],
)
def test_mistakes_are_told(mistake, error, says):
    with pytest.raises(error, match=says):
        mistake()


def test_a_bad_name_is_warned_of_and_not_recorded(engine):
    with pytest.warns(UserWarning, match="Invalid metric name: 1a"):
        counter = Counter("1a")
    counter.inc()
    Gauge("unset").set(None)
    assert samples() == {}
