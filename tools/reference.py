"""Whether every public name is in the API reference of the site that mkdocs has built.

`python -m tools.reference [SITE]` reads the site's inventory and exits 1 when a name of Ray's that is
here is not in it: under its own path, under that of the object that it names, or in the text of a page
of docs/api; or when a page shows an example as running text, or is too long to open. It knows nothing of
how the pages are made.
"""

import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

from heliostat.cli._parity import find
from tools.names import HERE, gaps, read_names

LONGEST_BYTES = 2_000_000
PAGES = HERE.parent / "docs" / "api"


def inventory(content: bytes) -> set[str]:
    """The names in a site's objects.inv: four lines of text, and then compressed ones."""
    lines = zlib.decompress(content.split(b"\n", 4)[4]).decode().splitlines()
    return {line.split(" ", 1)[0] for line in lines}


def missing(paths: Iterable[str], known: set[str], text: str, package: str) -> list[str]:
    """Those of Ray's paths, as ours, that the reference does not have."""
    found = []
    for path in paths:
        ours = f"{package}.{path.split('.', 1)[1]}"
        thing = find(path, package)
        home = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"
        said = f"`{ours}`" in text or f"`{ours.rsplit('.', 1)[1]}`" in text
        if not {ours, home} & known and not said:
            found.append(ours)
    return found


def flattened(site: Path) -> list[str]:
    """Pages on which an example is running text, where its lines are one and `>>>` are quotations."""
    pages = sorted((site / "api").glob("*.html"))
    return [page.name for page in pages if '<details class="example"' in page.read_text()]


def longest(site: Path) -> list[str]:
    """Pages that are longer than a browser shows at once."""
    pages = sorted((site / "api").glob("*.html"))
    return [page.name for page in pages if page.stat().st_size > LONGEST_BYTES]


def main() -> int:
    """Print what is missing or unreadable; 1 when there is any."""
    site = Path(sys.argv[1] if len(sys.argv) > 1 else "site")
    if not (site / "objects.inv").is_file():
        print(f"{site} has no objects.inv: make the site first, with `make docs`")
        return 1
    names = read_names(HERE / "ray_names.txt")
    paths = [name.path for name in names if name.path not in gaps(name, "heliostat")]
    text = "\n".join(page.read_text() for page in sorted(PAGES.glob("*.md")))
    absent = missing(paths, inventory((site / "objects.inv").read_bytes()), text, "heliostat")
    for name in absent:
        print(f"{name}: not in the API reference; add `::: its module` to a page of docs/api")
    unreadable = flattened(site)
    for name in unreadable:
        print(f"api/{name}: has examples as running text; see tools/docs_examples.py")
    long = longest(site)
    for name in long:
        print(f"api/{name}: is longer than {LONGEST_BYTES:,} bytes; give a part of it its own page")
    return int(bool(absent or unreadable or long))


if __name__ == "__main__":
    sys.exit(main())
