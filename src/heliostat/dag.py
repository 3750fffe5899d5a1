"""Graphs of calls, made with `.bind(...)` and run with `.execute(...)`; Ray's `ray.dag`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from heliostat._core.dag import (
    ClassMethodNode,
    ClassNode,
    DAGInputData,
    DAGNode,
    FunctionNode,
    InputAttributeNode,
    InputNode,
    MultiOutputNode,
    _in_order,
)

__all__ = [
    "ClassMethodNode",
    "ClassNode",
    "DAGInputData",
    "DAGNode",
    "FunctionNode",
    "InputAttributeNode",
    "InputNode",
    "MultiOutputNode",
    "plot",
]


def plot(dag: DAGNode, to_file: str | os.PathLike[str] | None = None) -> Any:
    """Draw a graph: each node, and what it needs.

    Args:
        dag: The node that all others lead to.
        to_file: Where to; its ending says how, as in `graph.svg`. `.dot` is the description that
            Graphviz draws others from. None: a picture for the notebook that asks.

    Returns:
        In a notebook, the picture; otherwise None.

    Raises:
        FileNotFoundError: If Graphviz's `dot` is needed and not there.
        ValueError: If Graphviz does not know the ending.

    Example:
        >>> from pathlib import Path
        >>> import heliostat as ray
        >>> from heliostat.dag import InputNode, plot
        >>> @ray.remote
        ... def double(n): return 2 * n
        >>> with InputNode() as given:
        ...     graph = double.bind(given)
        >>> plot(graph, "graph.dot")
        >>> print(Path("graph.dot").read_text())
        digraph {
          0 [label="InputNode()"];
          1 [label="FunctionNode(double)"];
          0 -> 1;
        }
    """
    if to_file is None:
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder, "graph.svg")
            _draw(_described(dag), picture)
            return _shown(picture.read_text())
    path = Path(to_file)
    if path.suffix == ".dot":
        path.write_text(_described(dag) + "\n")
    else:
        _draw(_described(dag), path)
    return None


def _described(dag: DAGNode) -> str:
    order = _in_order(dag)
    numbers = {id(node): number for number, node in enumerate(order)}
    lines = ["digraph {"]
    for number, node in enumerate(order):
        label = repr(node).replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'  {number} [label="{label}"];')
        needs = dict.fromkeys(numbers[id(below)] for below in node._needs())
        lines += [f"  {below} -> {number};" for below in needs]
    return "\n".join([*lines, "}"])


def _draw(text: str, path: Path) -> None:
    kind = path.suffix.removeprefix(".") or "png"
    try:
        done = subprocess.run(
            ["dot", f"-T{kind}", "-o", str(path)], input=text, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path.name} is drawn by Graphviz, whose program `dot` is not on the PATH; install "
            "the system's package graphviz, or name a file that ends in .dot"
        ) from error
    if done.returncode:
        raise ValueError(f"Graphviz cannot draw {path.name}: {done.stderr.strip()}")


def _shown(svg: str) -> Any:
    display = sys.modules.get("IPython.display")  # whoever shows pictures has it loaded
    return display.SVG(svg) if display is not None else None
