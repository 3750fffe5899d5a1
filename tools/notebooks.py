"""Notebooks beside the examples: the same code in cells, made from the scripts and never by hand.

The docstring of a script becomes text, its imports a cell, each function, class or assignment one
more, and what it does as a program the last one. `--run` runs the cells of a notebook one after the
other as a kernel would, without needing one.

    python -m tools.notebooks [--write | --run NOTEBOOK]
"""

import ast
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "examples").glob("tune_*.py"))


def cells(source: str) -> Iterator[tuple[str, str]]:
    """The cells of a script: "markdown" or "code", and what is in them.

    >>> list(cells("import sys\\nx = 1\\nif __name__ == '__main__':\\n    print(x)\\n"))
    [('code', 'import sys'), ('code', 'x = 1'), ('code', 'print(x)')]
    """
    tree = ast.parse(source)
    lines = source.splitlines()
    text = ast.get_docstring(tree)
    if text:
        yield "markdown", text
    last = tree.body[0].end_lineno or 0 if text else 0
    imports: list[str] = []
    for node in tree.body[1 if text else 0 :]:
        code = lines[last : node.end_lineno]
        last = node.end_lineno or last
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports += code
            continue
        if imports:
            yield "code", "\n".join(imports).strip("\n")
            imports = []
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            body = lines[node.body[0].lineno - 1 : node.body[-1].end_lineno]
            yield "code", textwrap.dedent("\n".join(body))
        else:
            yield "code", "\n".join(code).strip("\n")


def notebook(source: str) -> str:
    """A script as a notebook without outputs."""
    made: list[dict[str, Any]] = []
    for number, (kind, text) in enumerate(cells(source)):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        made.append({**cell, "source": text.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    page = {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(page, indent=1, sort_keys=True) + "\n"


def run(path: Path) -> None:
    """Run the code of a notebook, cell by cell, in one namespace."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(path.read_text())["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"<{path.name}, cell {number}>", "exec"), names)


def main(arguments: list[str]) -> int:
    """Write the notebooks, run one, or say which are not what their scripts say."""
    if arguments[:1] == ["--run"]:
        run(Path(arguments[1]))
        return 0
    stale = []
    for script in SCRIPTS:
        target, text = script.with_suffix(".ipynb"), notebook(script.read_text())
        if target.exists() and target.read_text() == text:
            continue
        if arguments == ["--write"]:
            target.write_text(text)
        else:
            stale.append(target.name)
    if stale:
        print(
            f"not what the scripts say: {', '.join(stale)}; run python -m tools.notebooks --write"
        )
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
