"""The trees on the pages, written from the first lines of the docstrings.

ARCHITECTURE.md gets the folders and the names in them, docs/tree.md a line for each file.
`python -m tools.tree` exits 1 when a page is stale, `--write` mends it. It knows the modules of
src/heliostat and nothing else.
"""

import ast
import sys
import textwrap
from collections.abc import Callable, Iterator
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


def folders(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Each package, from the top, with those of its files that say something."""
    package = root / SOURCE
    files = [f for f in sorted(package.rglob("*.py")) if f.read_text().strip()]
    files.sort(key=lambda f: (f.parent != package, f.parent, f.name))
    for folder, group in groupby(files, key=lambda f: f.parent):
        yield folder, [f for f in group if f.name != "__init__.py"]


def row(name: str, text: str) -> str:
    """A name and what it is, cut to the width of a page."""
    whole = f"{name:<28} {text}"
    return whole if len(whole) <= WIDTH else whole[: WIDTH - 3].rstrip() + "..."


def overview(root: Path) -> str:
    """A folder after the other: what it is, and the names in it."""
    rows = []
    for folder, files in folders(root):
        name = f"{folder.relative_to(root / SOURCE.parent)}/"
        rows.append(row(name, purpose(folder / "__init__.py")))
        names = " ".join(f.stem for f in files)
        rows += textwrap.wrap(names, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(rows)


def listing(root: Path) -> str:
    """Every file, a line each."""
    rows = []
    for folder, files in folders(root):
        name = f"{folder.relative_to(root / SOURCE.parent)}/"
        rows += ["", row(name, purpose(folder / "__init__.py"))]
        rows += [row(f"  {f.name}", purpose(f)) for f in files]
    return "\n".join(rows[1:])


PAGES: dict[str, Callable[[Path], str]] = {
    "ARCHITECTURE.md": overview,
    "docs/tree.md": listing,
}


def page_with(text: str, page: str) -> str:
    """The page with the text between the markers.

    Raises:
        ValueError: a marker is missing.
    """
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"the page needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n```text\n{text}\n```\n\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Check the pages, or write them with `--write`."""
    stale = 0
    for name, draw in PAGES.items():
        file = ROOT / name
        page = file.read_text()
        wanted = page_with(draw(ROOT), page)
        if page == wanted:
            continue
        if "--write" in arguments:
            file.write_text(wanted)
        else:
            print(f"{name}: its tree is stale; `make fix` writes it anew")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
