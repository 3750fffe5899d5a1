"""Notebooks are their scripts in cells."""

import json

import pytest

from tools import notebooks

SCRIPT = '''"""About.

More.
"""

import os
from sys import argv

# A comment that belongs to the next.
X = 1


def f():
    """Docs."""
    return X


if __name__ == "__main__":
    f()
    print(os.sep, len(argv) > 0, f())
'''


def test_a_script_becomes_text_imports_definitions_and_the_program():
    kinds = list(notebooks.cells(SCRIPT))
    assert [kind for kind, _ in kinds] == ["markdown", "code", "code", "code", "code"]
    assert kinds[0][1] == "About.\n\nMore."
    assert kinds[1][1] == "import os\nfrom sys import argv"
    assert kinds[2][1] == "# A comment that belongs to the next.\nX = 1"
    assert kinds[4][1] == "f()\nprint(os.sep, len(argv) > 0, f())"


def test_a_notebook_runs_cell_by_cell(tmp_path, capsys):
    path = tmp_path / "x.ipynb"
    path.write_text(notebooks.notebook(SCRIPT))
    assert json.loads(path.read_text())["nbformat"] == 4
    assert notebooks.main(["--run", str(path)]) == 0
    assert capsys.readouterr().out == "/ True 1\n"


def test_a_stale_notebook_is_named_and_written_anew(tmp_path, monkeypatch, capsys):
    script = tmp_path / "a.py"
    script.write_text(SCRIPT)
    monkeypatch.setattr(notebooks, "SCRIPTS", [script])
    assert notebooks.main([])
    assert "a.ipynb" in capsys.readouterr().out
    assert notebooks.main(["--write"]) == 0
    assert notebooks.main([]) == 0


@pytest.mark.parametrize("script", notebooks.SCRIPTS, ids=lambda path: path.stem)
def test_the_notebooks_of_the_examples_are_what_their_scripts_say(script):
    assert script.with_suffix(".ipynb").read_text() == notebooks.notebook(script.read_text())
