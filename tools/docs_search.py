"""What the site's search finds first, and how it names what it found. mkdocs.yml names this file.

Nineteen of twenty entries are names of the reference, most of them short, so a guide about a word
stood behind every attribute called so; and twelve entries called `port` told nobody of what.
"""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

# What is written otherwise in the worker: entries count for what we say, and a question is cut into
# words where the pages were: `ray.data.read_csv` asks for `ray`, `data`, `read` and `csv`.
_CHANGES = {
    "this.add(doc);": "this.add(doc, {boost: doc.boost});",
    "lunr.tokenizer.separator = new": "lunr.QueryLexer.termSeparator = lunr.tokenizer.separator = new",
}


def on_post_build(config: Any) -> None:
    """The site has been written: name the entries of its search, and put guides first."""
    folder = Path(config["site_dir"], "search")
    worker = folder / "worker.js"
    text = worker.read_text()
    for old, new in _CHANGES.items():
        if old not in text:
            raise PluginError(f"{worker} has no {old!r}: see how the index is made in this mkdocs")
        text = text.replace(old, new)
    worker.write_text(text)
    index = folder / "search_index.json"
    found = json.loads(index.read_text())
    pages = {one["location"]: one["title"] for one in found["docs"] if "#" not in one["location"]}
    for one in found["docs"]:
        one["boost"] = weight(one["location"], one["title"], one["text"])
        one["title"] = named(one["location"], one["title"], pages)
    index.write_text(json.dumps(found))


def named(location: str, title: str, pages: dict[str, str]) -> str:
    """What an entry is called: a name of the reference in full, a heading with its page."""
    page, _, anchor = location.partition("#")
    if page.startswith("api/") and anchor.startswith("heliostat."):
        return re.sub(r"^heliostat\.", "", anchor)
    whole = pages.get(page, title)
    return title if whole in title else f"{title} ({whole})"


def weight(location: str, title: str, text: str) -> float:
    """What an entry counts for: guides most, then functions and classes; attributes and pages of names least."""
    if location.startswith(("decisions/", "tree.")):
        return 0.6
    if not location.startswith("api/"):
        return 2
    small = "#" not in location or text.startswith((f"{title} :", f"{title} ="))
    return 0.3 if small else 1.5
