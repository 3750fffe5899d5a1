"""The pages' facts about a session that runs, and about the same one when it has ended."""

import itertools
import os
import re
import subprocess
import sys

import pytest

import heliostat as ray
from heliostat import dashboard
from heliostat.dashboard import _history
from heliostat.dashboard._collector import Moments
from heliostat.dashboard._documents import percentile, usage
from heliostat.dashboard._history import Query
from heliostat.dashboard._session import choose, columns, flat
from heliostat.runtime_context import records
from heliostat.testing.clock import until
from tests.dashboard.conftest import Visitor

EVIL = "<img src=x onerror=alert(1)>"


@ray.remote(num_cpus=0)
class Counter:
    def add(self):
        return 1


@pytest.fixture(scope="module")
def busy(visitor):
    """A session in which a bit of everything has happened."""

    @ray.remote
    def work(n):
        print("\x1b[31mworking\x1b[0m", n)
        return n

    @ray.remote
    def fail():
        raise ValueError("no")

    counter = Counter.options(name="counter").remote()
    ray.get([work.options(name=EVIL).remote(n) for n in range(20)])
    with pytest.raises(ValueError, match="no"):
        ray.get(fail.remote())
    ray.get([counter.add.remote() for _ in range(3)])
    kept = ray.put(b"x" * (1 << 20))
    yield visitor
    del kept, counter


def test_overview_tells_resources_memory_and_who_holds_it(busy):
    page = busy.page("overview")
    assert {"name": "CPU", "total": 2.0, "used": 0.0} in page["resources"]
    assert page["actors"] == {"ALIVE": 1}
    kinds = {row["kind"] for row in page["holders"]}
    assert {"driver", "actor", "objects"} <= kinds
    (driver,) = (row for row in page["processes"] if row["kind"] == "driver")
    assert driver["pid"] == os.getpid()
    assert driver["own_bytes"] > 1 << 20


def test_ended_tasks_are_all_there_as_soon_as_somebody_looks(busy):
    found = busy.table("ended_tasks", "most=10&text=img")
    assert found["total"] == 20
    assert len(found["rows"]) == 10
    assert found["rows"][0]["name"] == EVIL
    assert busy.table("ended_tasks", "state=FAILED")["total"] == 1
    names = {row["name"]: row for row in busy.table("summary")["rows"]}
    assert names["Counter.add"]["ended"] == 3, names
    assert names["busy.<locals>.fail"]["failed"] == 1


def test_waiting_tasks_are_counted_and_listed_by_page(busy, tmp_path):
    gate = tmp_path / "open"

    @ray.remote
    def held(path):
        until(lambda: os.path.exists(path), timeout_s=60)

    refs = [held.remote(str(gate)) for _ in range(250)]
    until(lambda: busy.table("live_tasks", "state=RUNNING")["total"] == 2, timeout_s=60)
    found = busy.table("live_tasks", "start=200&most=100&text=held")
    assert (found["total"], len(found["rows"])) == (250, 50)
    waiting = busy.table("live_tasks", "state=PENDING_NODE_ASSIGNMENT&most=1")
    assert (waiting["total"], len(waiting["rows"])) == (248, 1)
    assert waiting["rows"][0]["reason"]
    gate.touch()
    ray.get(refs)


def test_tables_of_actors_objects_and_workers(busy):
    (actor,) = busy.table("actors")["rows"]
    assert (actor["name"], actor["class_name"]) == ("counter", "Counter")
    assert busy.table("objects")["rows"][0]["object_size"] >= 1 << 20
    assert busy.table("objects", "sort=object_size&down=0&most=1")["total"] >= 1
    assert busy.table("workers", "text=Counter")["total"] == 1
    assert busy.table("placement_groups")["total"] == 0


def test_libraries_that_are_not_loaded_have_empty_pages(busy):
    script = (
        "import sys, heliostat as ray\n"
        "from heliostat.dashboard import _documents as d\n"
        "with ray.init(num_cpus=1):\n"
        "    assert d.data() == d.train() == d.tune() == {'rows': []}\n"
        "    assert d.serve() == {'applications': []}\n"
        "    loaded = {'data', 'train', 'tune', 'serve'} & {n.split('.')[1] for n in sys.modules if n.startswith('heliostat.')}\n"
        "    assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_jobs_logs_trace_and_metrics(busy):
    rows = busy.page("jobs")["rows"]
    assert rows[0]["type"] == "DRIVER"
    names = [row["name"] for row in busy.page("logs")["rows"] if row["name"].endswith(".out")]
    texts = [busy.ask(f"/api/log?name={name}").json["is"]["text"] for name in names]
    assert any("working" in text for text in texts)
    assert any(event["name"] == EVIL for event in busy.ask("/api/trace").json)
    text = busy.ask("/metrics").body.decode()
    assert 'ray_resources{Name="CPU",' in text
    assert "ray_actors{" in text
    assert "# TYPE ray_component_uss_mb gauge" in text


def test_numbers_over_time_are_sampled(busy):
    until(lambda: len(busy.page("series")["at"]) >= 2, timeout_s=60)
    assert "tasks ended/s" in busy.page("series")["values"]


def test_without_one_nothing_of_it_is_loaded_counted_or_listening():
    script = (
        "import os, sys, threading, heliostat as ray\n"
        "@ray.remote\n"
        "def f(): pass\n"
        "with ray.init(num_cpus=1):\n"
        "    ray.get([f.remote() for _ in range(100)])\n"
        "    assert not {'sqlite3', 'http.server', 'socketserver', 'heliostat._parts'} & set(sys.modules)\n"
        "    assert not [n for n in sys.modules if n.startswith('heliostat.dashboard')]\n"
        "    names = [t.name for t in threading.enumerate()]\n"
        "    assert not [n for n in names if 'history' in n or 'dashboard' in n], names\n"
        "    own = {os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')}\n"
        "    tcp = [line.split() for line in open('/proc/net/tcp')][1:]\n"
        "    assert not [row for row in tcp if row[3] == '0A' and f'socket:[{row[9]}]' in own]\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_all_that_have_ended_are_counted_however_many_came_at_once(state_dir):
    @ray.remote(num_cpus=0.5)
    def short():
        pass

    ray.shutdown()
    with ray.init(num_cpus=2):
        ray.get([short.remote() for _ in range(11_000)])  # they fill what the session remembers
        shown = dashboard.start()
        try:
            visitor = Visitor(shown.url)
            before = _ended(visitor)
            for _ in range(3):
                ray.get([short.remote() for _ in range(8_000)])
            assert _ended(visitor) - before == 24_000
            until(
                lambda: max(visitor.page("series")["values"]["ended in all"]) >= 24_000,
                timeout_s=60,
            )
        finally:
            shown.close()
        ray.get([short.remote() for _ in range(10)])
        assert sum(row["count"] for row in records("ended_counts")) == 10_000  # counted anew


def _ended(visitor):
    text = visitor.ask("/metrics").body.decode()
    (count,) = re.findall(r'ray_tasks{.*Name="[^"]*short".*State="FINISHED"} (.*)', text)
    return float(count)


def test_the_repr_has_no_secret_in_it(visitor):
    shown = dashboard.start()
    try:
        assert shown.url.partition("=")[2] not in repr(shown)
    finally:
        shown.close()


def test_a_history_shows_the_same_when_the_session_has_ended(tmp_path, monkeypatch):
    script = (
        "import heliostat as ray\n"
        "ray.init(num_cpus=1, include_dashboard=True)\n"
        "@ray.remote\n"
        "def old():\n    print('said')\n    return 1\n"
        "assert ray.get([old.remote() for _ in range(7)]) == [1] * 7\n"
    )
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, timeout=120, capture_output=True, text=True
    )
    assert "the dashboard is at http://127.0.0.1:" in done.stderr
    shown = dashboard.show()
    try:
        visitor = Visitor(shown.url)
        assert visitor.table("ended_tasks")["total"] == 7
        assert visitor.table("live_tasks")["total"] == 0
        assert visitor.table("summary")["rows"][0]["name"] == "old"
        assert visitor.page("session")["ended_at"] > 0
        assert visitor.page("series")["at"]
        names = [row["name"] for row in visitor.page("logs")["rows"]]
        (said,) = (name for name in names if name.endswith(".out"))
        assert "said" in visitor.ask(f"/api/log?name={said}").json["is"]["text"]
        assert visitor.ask("/api/log?name=other").status == 400
        assert visitor.ask("/metrics").status == 404
        assert visitor.ask("/api/page/nothing").status == 404
    finally:
        shown.close()
    path = tmp_path / "report.html"
    assert dashboard.write_report(None, path) == shown.run
    text = path.read_text()
    assert '"name": "old"' in text
    elsewhere = set(re.findall(r"https?://[\w.]+", text))
    assert elsewhere <= {"http://www.w3.org", "https://github.com"}  # a namespace; uPlot's home


def test_the_history_of_a_program_that_was_killed_has_what_it_printed_and_ran(
    tmp_path, monkeypatch
):
    script = (
        "import threading\nimport heliostat as ray\n"
        "ray.init(num_cpus=1, include_dashboard=True)\n"
        "@ray.remote\n"
        "def stuck():\n    print('said', flush=True)\n    threading.Event().wait()\n"
        "ray.get(stuck.remote())\n"
    )
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path))

    def kept(name):
        for found in _history.runs():
            with _history.reading(found.path) as history:
                return history.get(name)
        return None

    quiet = subprocess.DEVNULL
    with subprocess.Popen([sys.executable, "-c", script], stdout=quiet, stderr=quiet) as program:
        try:
            until(lambda: (kept("overview") or {"live": ()})["live"], timeout_s=60)
            until(lambda: "said" in str(kept("logs")), timeout_s=30)
        finally:
            program.kill()
    assert [row["name"] for row in kept("live_tasks")] == ["stuck"]


def test_a_program_without_a_dashboard_does_not_load_it():
    script = (
        "import sys, heliostat as ray\n"
        "with ray.init(num_cpus=1) as context:\n"
        "    assert context.dashboard_url == ''\n"
        "    page = context._repr_html_()\n"
        "    assert '<th>Dashboard</th><td>none; ' in page and ray.__version__ in page, page\n"
        "    assert not {'heliostat.dashboard', 'http.server', 'sqlite3'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_a_notebook_shows_a_link_to_the_dashboard(tmp_path, monkeypatch):
    script = (
        "import heliostat as ray\n"
        "with ray.init(num_cpus=1, include_dashboard=True) as context:\n"
        '    link = f\'<a href="http://{context.dashboard_url}" target="_blank">\'\n'
        "    assert link in context._repr_html_(), context._repr_html_()\n"
    )
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path))
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_a_host_that_is_not_this_machine_is_refused():
    with pytest.raises(ValueError, match="for this machine only"):
        ray.init(include_dashboard=True, dashboard_host="0.0.0.0")


def test_moments_are_thinned_evenly_and_the_newest_stays():
    moments = Moments(kept=10)
    for at in range(100):
        moments.add(float(at), {})
        assert moments.list()[-1][0] == at
    kept = [at for at, _ in moments.list()]
    assert len(kept) <= 10
    steps = {b - a for a, b in itertools.pairwise(kept[:-1])}
    assert len(steps) == 1


def test_rows_are_chosen_by_text_state_and_order():
    rows = [
        {"name": n, "state": s, "size": z}
        for n, s, z in [("a", "X", 2), ("b", "Y", None), ("c", "X", 10)]
    ]
    assert [row["name"] for row in choose(rows, Query(sort="size"))[0]] == ["c", "a", "b"]
    assert choose(rows, Query(state="X", most=1)) == ([rows[0]], 2)
    assert choose(rows, Query(text="B"))[1] == 1
    with pytest.raises(ValueError, match="no column 'x'"):
        choose(rows, Query(sort="x"))


def test_moments_become_columns():
    assert columns([]) == {"at": [], "values": {}}
    assert columns([(1.0, {"a": 1}), (2.0, {"b": 2})])["values"] == {"a": [1, None], "b": [None, 2]}


def test_trials_are_flat_in_tables():
    row = flat({"name": "t", "curve": [1], "metrics": {"loss": 1}, "config": {"lr": 2}})
    assert row["metrics.loss"] == 1
    assert row["config.lr"] == 2
    assert "curve" not in row


def test_percentiles_are_between_the_boundaries():
    assert percentile((10.0, 20.0), [0, 0, 0], 0.5) is None
    assert percentile((10.0, 20.0), [0, 10, 0], 0.5) == 15.0
    assert percentile((10.0, 20.0), [0, 0, 4], 0.5) == 20.0


def test_a_process_that_is_gone_uses_nothing():
    assert usage(None)["own_bytes"] == 0
