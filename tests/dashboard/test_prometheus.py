"""What a scraper gets has Ray's names, and Grafana's dashboard asks for nothing that is not there."""

import json
import re
from pathlib import Path

import pytest

import heliostat as ray
from heliostat import dashboard
from heliostat.dashboard._machine import Machine
from heliostat.testing.clock import until
from tests.dashboard import everything
from tests.dashboard.conftest import Visitor

NAME = re.compile(r"\bray_\w+")
SAMPLE = re.compile(r"(ray_\w+)\{([^{}]*)\} (-?[\d.e+inf-]+|nan)")


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """The text of /metrics after tasks and a dataset."""
    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        with ray.init(num_cpus=2, include_dashboard=True) as context:
            kept = everything.tasks_and_actors()
            ray.data.range(1000).map_batches(lambda batch: batch).materialize()
            visitor = Visitor(f"http://{context.dashboard_url}")
            until(lambda: "cpu_util" in scrape(visitor))  # the kernel counts hundredths of a second
            yield scrape(visitor)
            assert json.loads(visitor.ask("/grafana.json").body)["title"] == "Heliostat"
            del kept


def scrape(visitor):
    return visitor.ask("/metrics").body.decode()


def families(text):
    return {line.split()[2]: line.split()[3] for line in text.splitlines() if "# TYPE" in line}


def test_every_line_is_prometheus_s(scraped):
    for line in scraped.splitlines():
        assert line.startswith("# ") or re.fullmatch(SAMPLE.pattern.replace("[^{}]", "."), line), (
            line
        )
    names = families(scraped)
    assert len(names) == scraped.count("# TYPE")
    assert all(kind == "counter" for name, kind in names.items() if name.endswith("_total"))


def test_every_metric_that_grafana_asks_for_is_there(scraped):
    there = {name for name, _, _ in SAMPLE.findall(scraped)} | {
        line.partition("{")[0] for line in scraped.splitlines() if not line.startswith("#")
    }
    made = json.loads(dashboard.grafana())
    asked = {
        name
        for panel in made["panels"]
        for target in panel.get("targets", ())
        for name in NAME.findall(target["expr"])
    }
    asked |= set(NAME.findall(json.dumps(made["templating"])))
    # Nothing is served in this program: of Serve's metrics tests/serve knows the names.
    assert {name for name in asked - there if not name.startswith("ray_serve_")} == set()
    assert len(asked) > 25
    ids = [panel["id"] for panel in made["panels"]]
    assert len(ids) == len(set(ids))


def test_tasks_that_have_ended_are_counted_by_name_and_state(scraped):
    found = {}
    for line in scraped.splitlines():
        if line.startswith("ray_tasks{"):
            found[re.search('Name="(.*?)",S', line)[1], re.search('State="(.*?)"', line)[1]] = (
                float(line.split()[-1])
            )
    assert found["square", "FINISHED"] == 20
    assert found[everything.EVIL, "FINISHED"] == 20
    assert found["fail", "FAILED"] == 1


def test_the_machine_is_told_of_as_the_kernel_does(tmp_path):
    machine = Machine()
    machine.look()
    values = machine.look()
    assert 0 < values["node_mem_used"] < values["node_mem_total"]
    assert values["node_disk_free"] > 0
    assert values["node_network_receive_speed"] >= 0
    assert 0 <= values.get("node_cpu_utilization", 0) <= 100
    bare = Machine(tmp_path).look()  # where a container hides the rest
    assert {name.split("_")[1] for name in bare} == {"cpu", "disk"}


def test_the_machine_s_rates_are_since_the_look_before(tmp_path):
    def write(ticks, received):
        Path(tmp_path, "stat").write_text(f"cpu  {ticks} 0 0 100 0 0 0 0 0 0\n")
        Path(tmp_path, "net").mkdir(exist_ok=True)
        rows = f"h\nh\n lo: 9 0 0 0 0 0 0 0 9\neth0: {received} 0 0 0 0 0 0 0 7\n"
        Path(tmp_path, "net", "dev").write_text(rows)

    write(100, 1000)
    machine = Machine(tmp_path)
    machine.look()
    write(150, 3000)
    values = machine.look()
    assert values["node_cpu_utilization"] == 100
    assert values["node_network_received"] == 3000
    assert values["node_network_receive_speed"] > 0
    assert values["node_network_sent"] == 7
