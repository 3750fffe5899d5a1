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


MARKED = """\"\"\"About.\"\"\"

# %% [markdown]
# # Title
#
# Text.

# %%
import os

x = 1


# %%
print(os.path.dirname(__file__), x)
"""


def test_a_script_with_marks_has_a_cell_for_each():
    assert list(notebooks.cells(MARKED)) == [
        ("markdown", "About."),
        ("markdown", "# Title\n\nText."),
        ("code", "import os\n\nx = 1"),
        ("code", "print(os.path.dirname(__file__), x)"),
    ]


def test_a_notebook_has_the_name_of_its_script_for_a_file():
    page = json.loads(notebooks.notebook(MARKED, "a.py"))
    assert page["nbformat"] == 4
    assert page["cells"][-1]["source"] == ['print(os.path.dirname("a.py"), x)']


def test_what_a_notebook_says_is_its_streams_and_results():
    outputs = [{"text": "a\n"}, {"text": "log\n", "name": "stderr"}, {"data": {"text/plain": "1"}}]
    assert notebooks.said({"cells": [{}, {"outputs": outputs}]}) == "a\n1\n"


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
    assert script.with_suffix(".ipynb").read_text() == notebooks.notebook(
        script.read_text(), script.name
    )
