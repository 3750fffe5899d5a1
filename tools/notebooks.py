"""Notebooks beside the examples: the same code in cells, made from the scripts and never by hand.

Of a script with `# %%` lines each such line begins a cell, and `# %% [markdown]` one of text. Of any
other the docstring becomes text, its imports a cell, each function, class or assignment one more, and
what it does as a program the last one. A notebook has no `__file__`; the script's name stands for it,
since a kernel runs in the folder of its notebook. `--execute` runs one in a kernel, for the tests.

    python -m tools.notebooks [--write | --execute NOTEBOOK [RESULT]]
"""

import ast
import importlib
import json
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# Lesson 1 with `import ray` is for `heliostat run`; lessons/lesson1_libraries.py is its notebook.
SCRIPTS = [
    *sorted(path for path in (ROOT / "examples").glob("*.py") if path.name != "lesson1_ray.py"),
    *sorted((ROOT / "examples" / "lessons").glob("*.py")),
]
MARK = re.compile(r"^# %%(.*)\n", re.MULTILINE)


def cells(source: str) -> Iterator[tuple[str, str]]:
    """The cells of a script: "markdown" or "code", and what is in them.

    >>> list(cells("import sys\\nx = 1\\nif __name__ == '__main__':\\n    print(x)\\n"))
    [('code', 'import sys'), ('code', 'x = 1'), ('code', 'print(x)')]
    """
    if MARK.search(source):
        yield from _marked(source)
        return
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


def _marked(source: str) -> Iterator[tuple[str, str]]:
    begin, *parts = MARK.split(source)
    text = ast.get_docstring(ast.parse(source))
    if text and begin.strip():
        yield "markdown", text
    for kind, body in zip(parts[::2], parts[1::2], strict=True):
        if kind.strip() == "[markdown]":
            yield "markdown", re.sub(r"^# ?", "", body, flags=re.MULTILINE).strip()
        else:
            yield "code", body.strip("\n")


def notebook(source: str, name: str) -> str:
    """A script as a notebook without outputs."""
    made: list[dict[str, Any]] = []
    for number, (kind, text) in enumerate(cells(source)):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
            text = text.replace("__file__", json.dumps(name))
        made.append({**cell, "source": text.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    page = {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(page, indent=1, sort_keys=True) + "\n"


def execute(path: Path) -> Any:
    """Run a notebook in a kernel of its own, in its folder; gives it with its outputs.

    A cell that fails raises with what the cell showed. Nothing listens on the network for it.
    """
    nbformat = importlib.import_module("nbformat")
    nbclient = importlib.import_module("nbclient")
    config = importlib.import_module("traitlets.config").Config()
    config.KernelManager.transport = "ipc"
    page = nbformat.read(path, as_version=4)
    nbformat.validate(page)
    resources = {"metadata": {"path": str(path.parent)}}
    with tempfile.TemporaryDirectory() as directory:
        config.KernelManager.ip = str(Path(directory, "kernel"))
        nbclient.NotebookClient(page, timeout=600, resources=resources, config=config).execute()
    return page


def said(page: Any) -> str:
    """What a notebook shows as text, cell after cell, without its log."""
    outputs = [out for cell in page["cells"] for out in cell.get("outputs", ())]
    outputs = [out for out in outputs if out.get("name") != "stderr"]
    return "".join(out.get("text", "") or f"{out['data']['text/plain']}\n" for out in outputs)


def main(arguments: list[str]) -> int:
    """Write the notebooks, run one, or say which are not what their scripts say."""
    if arguments[:1] == ["--execute"]:
        page = execute(Path(arguments[1]))
        for result in arguments[2:]:
            Path(result).write_text(json.dumps(page))
        print(said(page))
        return 0
    stale = []
    for script in SCRIPTS:
        target, text = script.with_suffix(".ipynb"), notebook(script.read_text(), script.name)
        if target.exists() and target.read_text() == text:
            continue
        if arguments == ["--write"]:
            target.write_text(text)
        else:
            stale.append(str(target))
    if stale:
        print(
            f"not what the scripts say: {', '.join(stale)}; run python -m tools.notebooks --write"
        )
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
