"""What people see in a notebook: tables, progress, prints, and errors, cell by cell; what stays after."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tools import notebooks

for package in ("ipykernel", "nbclient", "nbformat"):
    pytest.importorskip(package)
pytest.importorskip("uvicorn")

PROGRAM = """
# %% tasks
import os, time
import requests
import heliostat as ray
from heliostat import serve, tune

@ray.remote
def twice(n):
    print("in a task", n)
    return 2 * n

ray.init(num_cpus=2)
ray.get(twice.remote(2))

# %% await
await twice.remote(21)

# %% lazy
ray.data.range(5).map_batches(lambda batch: print("it ran") or {"<x>": batch["id"]})

# %% progress
def slow(batch):
    time.sleep(0.3)
    return batch

ds = ray.data.range(20).map_batches(slow, batch_size=5).materialize()
ds

# %% relational
ray.data.range(6).groupby("id").count().sort("id", descending=True).take(1)

# %% study
def objective(config):
    tune.report({"loss": (config["x"] - 1) ** 2})

print("before the study")
tuner = tune.Tuner(
    objective,
    param_space={"x": tune.grid_search([0, 1])},
    tune_config=tune.TuneConfig(metric="loss", mode="min"),
)
grid = tuner.fit()
grid

# %% result
grid.get_best_result()

# %% serve
@serve.deployment(ray_actor_options={"num_cpus": 0})
class Hello:
    def __call__(self, request):
        return "hello"

serve.start(http_options={"port": int(os.environ["PORT"])})
serve.run(Hello.bind(), name="hello")
serve.run(Hello.bind(), name="hello")
print(requests.get("http://127.0.0.1:" + os.environ["PORT"]).text)

# %% serve again
serve.run(Hello.bind(), name="hello")
handle = serve.get_app_handle("hello")
[await handle.remote(None), handle.remote(None).result()]

# %% processes
@ray.remote
def process():
    return os.getpid()

[os.getpid(), *ray.get([process.remote() for _ in range(2)])]
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The outputs of each cell, by its title."""
    folder = tmp_path_factory.mktemp("kernel")
    path, result = folder / "a.ipynb", folder / "out.ipynb"
    path.write_text(notebooks.notebook(PROGRAM, "a.py"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "HOME": str(folder), "PORT": str(port)}
    done = subprocess.run(
        [sys.executable, "-m", "tools.notebooks", "--execute", path, result],
        cwd=notebooks.ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    titles = [line[5:] for line in PROGRAM.splitlines() if line.startswith("# %%")]
    page = json.loads(result.read_text())
    return {title: cell["outputs"] for title, cell in zip(titles, page["cells"], strict=True)}


def text(outputs):
    return "".join(out.get("text", "") for out in outputs)


def shown(outputs, kind="text/html"):
    return [out["data"][kind] for out in outputs if kind in out.get("data", {})]


def test_what_tasks_print_is_below_the_cell(cells):
    assert "in a task 2" in text(cells["tasks"])
    assert shown(cells["tasks"], "text/plain") == ["4"]


def test_a_ref_can_be_awaited_where_a_loop_runs_already(cells):
    assert shown(cells["await"], "text/plain") == ["42"]


def test_a_dataset_that_has_not_run_shows_its_plan_and_does_not_run(cells):
    [page] = shown(cells["lazy"])
    assert "Range(5)" in page
    assert "<x>" not in page
    assert "it ran" not in "".join(map(text, cells.values()))


def test_progress_is_one_display_that_is_written_anew(cells):
    display, *_, result = cells["progress"]
    assert "20 rows" in display["data"]["text/plain"]
    assert "\x1b" not in display["data"]["text/plain"]
    assert "20 rows" in result["data"]["text/html"]


def test_relational_verbs_need_no_widgets(cells):
    assert shown(cells["relational"], "text/plain")[-1] == "[{'id': 5, 'count()': 1}]"


def test_a_study_keeps_what_was_printed_before_it_and_has_one_table(cells):
    assert "before the study" in text(cells["study"])
    table, grid = shown(cells["study"])
    assert "TERMINATED" in table
    assert grid.count("TERMINATED") == 2
    assert "<td>0</td>" in grid
    assert "TERMINATED" in shown(cells["study"], "text/plain")[0]


def test_a_result_is_a_table(cells):
    [page] = shown(cells["result"])
    assert "<td>loss</td><td>0</td>" in page
    assert "x=1" in page


def test_an_application_is_served_and_updated_from_cells(cells):
    assert text(cells["serve"]).endswith("hello\n")
    assert shown(cells["serve again"], "text/plain") == ["['hello', 'hello']"]


def test_the_end_of_the_kernel_is_the_end_of_its_processes(cells):
    [pids] = shown(cells["processes"], "text/plain")
    assert len(json.loads(pids)) == 3
    assert [pid for pid in json.loads(pids) if Path(f"/proc/{pid}").exists()] == []
