"""A graph is drawn as its nodes and what each of them needs."""

import shutil
import sys
from types import ModuleType

import pytest

import heliostat as ray
from heliostat.dag import InputNode, MultiOutputNode, plot


@ray.remote
def add(a, b):
    return a + b


@ray.remote
class Store:
    def keep(self, value):
        return value


@pytest.fixture
def graph():
    with InputNode() as given:
        total = add.bind(given[0], given[0])
        return MultiOutputNode([total, Store.bind().keep.bind(total)])


@pytest.fixture
def dot(tmp_path, monkeypatch):
    """A `dot` that says what it was asked for, and knows svg only; a real one is seldom here."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "dot"
    program.write_text(
        '#!/bin/sh\n[ "$1" = -Tsvg ] || { echo "no such format" >&2; exit 1; }\ncat > "$3"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")


def test_a_description_has_every_node_once_and_its_needs(graph, tmp_path):
    plot(graph, tmp_path / "graph.dot")
    lines = (tmp_path / "graph.dot").read_text().splitlines()
    assert sum("FunctionNode(add)" in line for line in lines) == 1
    assert sum("->" in line for line in lines) == 8
    assert (lines[0], lines[-1]) == ("digraph {", "}")


def test_other_endings_are_drawn_by_graphviz(graph, tmp_path, dot):
    plot(graph, tmp_path / "graph.svg")
    assert "digraph" in (tmp_path / "graph.svg").read_text()
    with pytest.raises(ValueError, match=r"cannot draw graph\.xyz: no such format"):
        plot(graph, tmp_path / "graph.xyz")


def test_without_graphviz_the_way_out_is_named(graph, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("dot") is None
    with pytest.raises(FileNotFoundError, match=r"ends in \.dot"):
        plot(graph, tmp_path / "graph.png")


def test_in_a_notebook_the_picture_is_shown(graph, dot, monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython.display", raising=False)  # of another test
    assert plot(graph) is None
    display = ModuleType("IPython.display")
    monkeypatch.setattr(display, "SVG", lambda text: ("shown", text), raising=False)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    assert plot(graph)[0] == "shown"
