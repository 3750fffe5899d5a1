"""The tree in ARCHITECTURE.md, written from the first lines of the docstrings.

`python -m tools.tree` exits 1 when the page is stale, `--write` mends it. It knows the modules of
src/heliostat and nothing else.
"""

import ast
import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = Path("src/heliostat")
BEGIN, END = "<!-- tree: written by `make fix` -->", "<!-- end of tree -->"
WIDTH = 118


def purpose(file: Path) -> str:
    """The first line of a module's docstring.

    Raises:
        ValueError: the module has none.
    """
    docstring = ast.get_docstring(ast.parse(file.read_text()))
    if not docstring:
        raise ValueError(f"{file} has no docstring; say in its first line what it is")
    return docstring.splitlines()[0]


def line(name: str, text: str) -> str:
    """A row of the tree, cut to the width of the page."""
    row = f"{name:<26} {text}"
    return row if len(row) <= WIDTH else row[: WIDTH - 3].rstrip() + "..."


def tree(root: Path) -> str:
    """Every module that says something, a line each, a folder after the other."""
    package = root / SOURCE
    files = [f for f in sorted(package.rglob("*.py")) if f.read_text().strip()]
    files.sort(key=lambda f: (len(f.relative_to(package).parts) > 1, f.parent, f.name))
    rows = []
    for folder, group in groupby(files, key=lambda f: f.parent):
        inside = list(group)
        initial = folder / "__init__.py"
        rows.append("")
        rows.append(line(f"{folder.relative_to(package.parent)}/", purpose(initial)))
        rows += [line(f"  {f.name}", purpose(f)) for f in inside if f != initial]
    return "\n".join(rows[1:])


def page_with(text: str, page: str) -> str:
    """The page with the text between the markers.

    Raises:
        ValueError: a marker is missing.
    """
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"ARCHITECTURE.md needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n```text\n{text}\n```\n\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Check the page, or write it with `--write`."""
    file = ROOT / "ARCHITECTURE.md"
    page = file.read_text()
    wanted = page_with(tree(ROOT), page)
    if "--write" in arguments:
        file.write_text(wanted)
    elif page != wanted:
        print("ARCHITECTURE.md: its tree is stale; `make fix` writes it anew")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
