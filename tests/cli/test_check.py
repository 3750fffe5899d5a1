"""`heliostat check` says by line what of Ray a script uses that is not here, or is different."""

import json
from pathlib import Path

import pytest

from heliostat.cli import main

ROOT = Path(__file__).parents[2]

SCRIPT = """\
import ray
import ray.data as rd
from ray import tune
from ray.rllib import Algorithm
from ray.data import from_mars, read_csv
ray.init(address="ray://head:10001", num_cpus=2); ray.put(1, nope=1)
ray.java_function("A", "f")
rd.read_api.read_databricks_tables("t")
ds = rd.read_csv("a.csv").map(len)
ds.to_mars()
ray._private.worker.global_worker
tune.Tuner(len, run_config=tune.RunConfig(name="a"))
ray.get([], timeout=1)
"""


@pytest.fixture
def script(tmp_path):
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    return file


def test_each_name_that_is_absent_or_differs_is_told_with_its_line(script, capsys):
    assert main(["check", "--json", str(script)]) == 1
    found = {(f["line"], f["name"]): f["state"] for f in json.loads(capsys.readouterr().out)}
    assert found == {
        (4, "ray.rllib.Algorithm"): "absent",
        (5, "ray.data.from_mars"): "absent",
        (6, "ray.init(address)"): "differs",
        (6, "ray.put(nope)"): "absent",
        (7, "ray.java_function"): "absent",
        (8, "ray.data.read_api.read_databricks_tables"): "absent",
        (10, "ray.data.Dataset.to_mars"): "perhaps absent",
        (11, "ray._private.worker.global_worker"): "absent",
        (13, "ray.get(timeout)"): "differs",
    }


def test_an_argument_without_its_name_is_known_by_its_place(tmp_path, capsys):
    (tmp_path / "a.py").write_text("import ray\nray.init('auto')\nray.init(*words)\nray.put(1)\n")
    assert main(["check", "--json", str(tmp_path / "a.py")]) == 0
    found = [(f["line"], f["name"]) for f in json.loads(capsys.readouterr().out)]
    assert found == [(2, "ray.init(address)")]


def test_the_page_shows_what_is_said(tmp_path, capsys, monkeypatch):
    page = (ROOT / "docs/cli.md").read_text()
    shown = page.partition("$ heliostat check train.py\n")[2].partition("```")[0]
    lines = ["import ray"] * 10
    lines[3] = "from ray.rllib import Algorithm"
    lines[5] = "ray.init('auto')"
    lines[9] = "ray.data.range(9).write_turbopuffer()"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("\n".join(lines))
    main(["check", "train.py"])
    assert capsys.readouterr().out == shown


def test_the_text_says_why_and_what_instead(script, capsys):
    main(["check", str(script)])
    shown = capsys.readouterr().out
    assert f"{script}:4: ray.rllib.Algorithm absent: there is no reinforcement learning" in shown
    assert shown.endswith("1 file, 9 findings\n")


def test_a_folder_of_scripts_that_are_fine_is_a_zero(tmp_path, capsys):
    (tmp_path / "fine.py").write_text(
        "import ray\nfrom ray.data.datasource import Partitioning\nray.get(ray.put(1))\n"
    )
    (tmp_path / "other.py").write_text("import os\nos.path.to_mars\n")
    assert main(["check", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("2 files, 1 finding\n")


def test_what_is_no_script_is_said(tmp_path, capsys):
    assert main(["check", str(tmp_path / "none.py")]) == 2
    (tmp_path / "bad.py").write_text("import (\n")
    assert main(["check", str(tmp_path / "bad.py")]) == 1
    assert "bad.py, line 1: invalid syntax" in capsys.readouterr().err


def test_a_file_of_a_folder_that_is_no_python_is_told_and_the_others_are_checked(tmp_path, capsys):
    (tmp_path / "a_bad.py").write_text("import (\n")
    (tmp_path / "b_zero.py").write_bytes(b"x = 1\0")
    (tmp_path / "c_dangling.py").symlink_to("nowhere")
    (tmp_path / "script.py").write_text(SCRIPT)
    assert main(["check", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    for name in ("a_bad.py", "b_zero.py", "c_dangling.py"):
        assert name in shown.err
    assert shown.out.endswith("1 file, 9 findings\n")


def test_what_is_hidden_or_a_virtual_environment_is_not_the_projects_own(tmp_path, capsys):
    for folder in (".hidden", "env/lib", "part"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "one.py").write_text("import ray\nray.java_function('A', 'f')\n")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    main(["check", str(tmp_path)])
    assert capsys.readouterr().out.endswith("1 file, 1 finding\n")
