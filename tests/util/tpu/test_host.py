"""What a machine says of its TPUs: told by its environment, its devices and its metadata server."""

import http.server
import os
import subprocess
import sys
import threading

import pytest

from heliostat.util import tpu
from heliostat.util.tpu import _host


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """A machine's /dev and /sys, without a chip."""
    for name in ("dev/vfio", "groups"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(_host, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(_host, "GROUPS", tmp_path / "groups")
    for name in ("TPU_NAME", "TPU_ACCELERATOR_TYPE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def metadata(monkeypatch):
    """The server beside a TPU VM, and what was asked of it."""
    said, asked = {}, []

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Metadata-Flavor"]))
            text = said.get(self.path.rpartition("/")[2])
            self.send_response(404 if text is None else 200)
            self.end_headers()
            self.wfile.write((text or "no").encode())

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(_host, "METADATA", f"http://127.0.0.1:{server.server_port}/")
    yield said, asked
    server.shutdown()
    thread.join()
    server.server_close()


def chips(root, count):
    for number in range(count):
        (root / "dev" / f"accel{number}").touch()


def test_a_machine_without_tpus_says_so_and_asks_nobody(devices, metadata):
    assert tpu.get_num_tpu_chips_on_node() == 0
    assert tpu.get_current_pod_name() is None
    assert tpu.get_current_pod_worker_count() is None
    assert metadata[1] == []


def test_chips_are_devices_and_a_folder_is_none(devices):
    (devices / "dev/accel").mkdir()
    assert tpu.get_num_tpu_chips_on_node() == 0
    chips(devices, 4)
    assert tpu.get_num_tpu_chips_on_node() == 4


def test_a_group_of_devices_is_a_chip_if_google_made_it(devices):
    for group, maker in (("7", "0x1ae0"), ("8", "0x10de"), ("9", "0x1AE0\n")):
        (devices / "dev/vfio" / group).touch()
        device = devices / "groups" / group / "devices" / "0000:00:05.0"
        device.mkdir(parents=True)
        (device / "vendor").write_text(maker)
    (devices / "dev/vfio/vfio").touch()
    assert tpu.get_num_tpu_chips_on_node() == 2


def test_the_environment_names_the_pod(devices, monkeypatch):
    monkeypatch.setenv("TPU_NAME", "mine")
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v4-16")
    assert tpu.get_current_pod_name() == "mine"
    assert tpu.get_current_pod_worker_count() is None
    chips(devices, 4)
    assert tpu.get_current_pod_worker_count() == 2
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "nonsense")
    assert tpu.get_current_pod_worker_count() is None


def test_a_tpu_vm_asks_the_server_beside_it(devices, metadata):
    said, asked = metadata
    chips(devices, 4)
    said.update({"instance-id": "a-tpu", "accelerator-type": "v6e-16"})
    assert tpu.get_current_pod_name() == "a-tpu"
    assert tpu.get_current_pod_worker_count() == 4
    assert {flavor for _, flavor in asked} == {"Google"}
    said.clear()
    assert tpu.get_current_pod_name() is None


def test_without_jax_its_profiler_is_a_warning(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "jax", None)
    tpu.init_jax_profiler()
    assert "pip install jax" in caplog.text


def test_jax_s_profiler_listens_where_it_is_told(tmp_path):
    pytest.importorskip("jax")
    program = """
import logging, socket, sys
from heliostat.util import tpu
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
tpu.init_jax_profiler(port)
socket.create_connection(("127.0.0.1", port)).close()
tpu.init_jax_profiler(port)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "JAX's profiler does not listen" in done.stderr


def test_accelerators_have_the_module_too():
    from heliostat.util import accelerators

    assert accelerators.tpu is tpu
    with pytest.raises(AttributeError, match="has no 'gpu'"):
        accelerators.gpu  # noqa: B018
