"""An application that Ray's own Serve looks after, asked for as KubeRay does for a RayService."""

import os
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest
import yaml

from heliostat.cli import main
from heliostat.testing.clock import until
from tests.ray import cluster

pytest.importorskip("ray.cluster_utils")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about itself
]

PROGRAM = """
from pathlib import Path
from ray import serve

WORD = Path("word.txt").read_text()

@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 1})
class Says:
    def __call__(self, request):
        return f"{serve.__name__}: {WORD}"

app = Says.bind()
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """What the operator sees: an application of Ray's Serve, and the port that it sends requests to."""

    def __init__(self, dashboard, port):
        self._api = f"http://127.0.0.1:{dashboard}/api/serve/applications/"
        self.url = f"http://127.0.0.1:{port}"

    def put(self, config):
        assert httpx.put(self._api, json=config, timeout=60).status_code == 200

    def told(self):
        app = httpx.get(self._api, timeout=60).json()["applications"].get("app")
        if app is None:
            return "", ""
        said = [deployment["message"] for deployment in app["deployments"].values()]
        return app["status"], "".join((app["message"], *said))

    def healthy(self):
        try:
            return httpx.get(f"{self.url}/-/healthz").status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture
def deployed(tmp_path, monkeypatch):
    """The config that `heliostat deploy` has written, for a folder and a port of this test's own."""
    (tmp_path / "app.py").write_text(PROGRAM)
    (tmp_path / "word.txt").write_text("hello")
    monkeypatch.chdir(tmp_path)
    assert main(["deploy", "app:app", "--target", "kuberay"]) == 0
    *_, manifest = yaml.safe_load_all((tmp_path / "deploy" / "app.yaml").read_text())
    assert manifest["kind"] == "RayService"
    config = yaml.safe_load(manifest["spec"]["serveConfigV2"])
    (app,) = config["applications"]
    port = free_port()
    app["args"]["command"] = [str(port) if w == "8000" else w for w in app["args"]["command"]]
    app["args"] |= {"port": port, "folder": str(tmp_path)}
    return config


def drivers(config):
    """Processes of the program, by number."""
    port = str(config["applications"][0]["args"]["port"])
    words = ["heliostat.cli._ray_service", "--http-port", port]
    found = []
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_bytes().decode().split("\0")
        except (OSError, ValueError):
            continue
        if all(word in line for word in words):
            found.append(int(folder.name))
    return found


def test_a_service_serves_comes_back_and_goes(deployed):
    head = cluster.dashboard()
    with cluster.nodes({}, {}, **head):
        service = Service(head["dashboard_port"], deployed["applications"][0]["args"]["port"])
        service.put(deployed)
        until(lambda: service.told()[0] == "RUNNING", "Ray's Serve says so", 90)
        assert httpx.get(f"{service.url}/x").text == "heliostat.serve: hello"

        # Serve outlives those who look after it: their followers find it, and deploy again.
        (driver,) = drivers(deployed)
        replica = int(Path(f"/proc/{driver}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(replica, signal.SIGKILL)
        until(lambda: drivers(deployed) not in ([driver], []), "its driver is followed by one", 60)
        assert driver not in drivers(deployed)
        until(lambda: service.told()[0] == "RUNNING", "it is looked after again", 90)
        assert httpx.get(f"{service.url}/x").text == "heliostat.serve: hello"

        (driver,) = drivers(deployed)
        os.kill(driver, signal.SIGKILL)
        until(lambda: drivers(deployed) not in ([driver], []), "it is missed", 90)
        until(lambda: service.told()[0] == "RUNNING", "there is another", 90)
        assert httpx.get(f"{service.url}/x").text == "heliostat.serve: hello"

        service.put({**deployed, "applications": []})
        until(lambda: not drivers(deployed), "the driver ends", 60)
        until(lambda: service.told() == ("", ""), "so does the application", 60)
        until(lambda: not service.healthy(), "nothing is served any more", 60)


def test_what_is_deleted_while_its_driver_begins_is_not_left_behind(deployed):
    head = cluster.dashboard()
    with cluster.nodes({}, {}, **head):
        service = Service(head["dashboard_port"], deployed["applications"][0]["args"]["port"])
        service.put(deployed)
        until(lambda: service.told()[0] == "RUNNING", "Ray's Serve says so", 90)
        (driver,) = drivers(deployed)
        os.kill(driver, signal.SIGKILL)
        until(lambda: drivers(deployed) not in ([driver], []), "there is another", 90)
        (driver,) = drivers(deployed)
        os.kill(driver, signal.SIGSTOP)  # it has not come far
        until(lambda: service.told()[0] == "RUNNING", "Serve runs, so it is taken for well", 90)
        service.put({**deployed, "applications": []})
        until(lambda: service.told()[0] == "DELETING", "it is to go", 60)
        time.sleep(3)  # SIGTERM waits for it
        os.kill(driver, signal.SIGCONT)
        until(lambda: service.told() == ("", ""), "the application is gone", 90)
        assert not drivers(deployed)
        assert not service.healthy()


def test_why_an_application_does_not_start_is_in_what_the_operator_is_told(deployed):
    Path("word.txt").unlink()
    head = cluster.dashboard()
    with cluster.nodes({}, **head):
        service = Service(head["dashboard_port"], deployed["applications"][0]["args"]["port"])
        service.put(deployed)
        until(lambda: service.told()[0] == "DEPLOY_FAILED", "Ray's Serve has given up", 120)
        assert "No such file or directory: 'word.txt'" in service.told()[1]
        assert not drivers(deployed)
