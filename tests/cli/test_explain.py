"""`heliostat data explain`: the plans of a script's datasets, in processes of their own."""

import json

from tests.cli.command import heliostat

SCRIPT = """
import ray
print("imported")
few = ray.data.range(10).limit(3)
many = ray.data.range(100)
def made(): return many.map(lambda row: row)
number = 3
if __name__ == "__main__":
    raise SystemExit("it was run")
"""


def test_datasets_of_a_script_are_explained_and_not_run(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = heliostat("data", "explain", "script.py", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "imported\n")
    plans = json.loads(done.stdout)
    assert list(plans) == ["few", "many"]
    assert "Range(3)" in plans["few"]
    done = heliostat("data", "explain", "script.py:made", cwd=tmp_path)
    assert done.stdout.startswith("-------- Logical Plan --------\nMap(<lambda>)")


def test_what_cannot_be_explained_is_said_without_a_traceback(tmp_path, capsys):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "broken.py").write_text("import ray\n1 / 0\n")
    (tmp_path / "empty.py").write_text("def bad(): raise KeyError('x')\n")
    for target, code, says in (
        ("none.py", 2, "there is no file"),
        ("script.py:number", 1, "there are few, many"),
        ("broken.py", 1, "ZeroDivisionError: division by zero"),
        ("empty.py", 1, "name a function that gives one"),
        ("empty.py:bad", 1, "raised KeyError"),
    ):
        done = heliostat("data", "explain", target, cwd=tmp_path)
        assert (done.returncode, says in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr
