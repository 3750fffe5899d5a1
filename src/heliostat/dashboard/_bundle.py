"""Bundle: the pages as one document with styles and scripts inside, so that a browser asks once.

The policy that goes with it names what may run by its digest, so that nothing else does.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import posixpath
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any, NamedTuple

# In the order in which they need each other.
SCRIPTS = (
    "dom.js", "format.js", "source.js", "plot.js", "table.js", "parts.js",
    "pages/overview.js", "pages/core.js", "pages/data.js", "pages/train.js", "pages/tune.js",
    "pages/serve.js", "pages/logs.js", "pages/timeline.js", "app.js",
)  # fmt: skip
STYLES = ("vendor/uPlot.min.css", "style.css")
LIBRARY = "vendor/uPlot.iife.min.js"
# What is seen before the scripts have run, where it stays afterwards.
_FIRST = (
    '<div class="frame"><nav class="side"><div class="brand"><svg class="logo" width="22" height="22">'
    '</svg><span>heliostat</span></div></nav><div class="content"></div></div>'
)
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "([^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:async )?(?:function|const|class) (\w+)", re.MULTILINE)


class Bundle(NamedTuple):
    """A document, and the Content-Security-Policy that lets it and nothing else run."""

    text: str
    policy: str


def bundle(title: str = "Heliostat", facts: Any = None) -> Bundle:
    """The pages.

    Args:
        title: What stands on the tab until the pages know better.
        facts: All that they show, as JSON; None: they ask the server that they come from.

    Example:
        >>> "<script>" in bundle().text, "unsafe" in bundle().policy
        (False, False)
    """
    style = "".join(map(read, STYLES))
    code = f"\n{read(LIBRARY)}\n{script(read)}\n"
    policy = (
        f"default-src 'none'; script-src {_digest(code)}; style-src {_digest(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    if facts is None:
        inside, told = "", ""
    else:
        told = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        inside = f'<script type="application/json" id="facts">{_embedded(facts)}</script>\n'
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n{told}'
        f"<title>{html.escape(title)}</title>\n"
        f'<link rel="icon" href="{_icon()}">\n<style>{style}</style>\n</head>\n<body>\n'
        f"{_FIRST}\n"
        "<noscript>These pages are drawn by JavaScript; please allow it here.</noscript>\n"
        f'{inside}<script type="module">{code}</script>\n</body>\n</html>\n'
    )
    return Bundle(text, policy)


def read(name: str) -> str:
    """The text of a file of the pages."""
    root = files("heliostat.dashboard") / "static"
    return root.joinpath(*name.split("/")).read_text(encoding="utf-8")


def script(read: Callable[[str], str]) -> str:
    """All modules as one, each in a scope of its own: their names are theirs.

    Args:
        read: Gives a module's text by its name.
    """
    parts = [_scoped(name, read(name)) for name in SCRIPTS]
    return "\n".join(["const modules = {};", *parts])


def finite(value: Any) -> Any:
    """NaN and infinity are no JSON: a browser would refuse all of it."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return value


def _embedded(value: Any) -> str:
    """JSON that cannot end the element that it is in."""
    return json.dumps(finite(value), default=str).replace("<", "\\u003c")


def _digest(text: str) -> str:
    sum_ = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(sum_).decode()}'"


def _icon() -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(read("icon.svg").encode()).decode()


def _scoped(name: str, text: str) -> str:
    def brought(match: re.Match[str]) -> str:
        other = posixpath.normpath(posixpath.join(posixpath.dirname(name), match[2]))
        return f'const {match[1]} = modules["{other}"];'

    given = ", ".join(_EXPORT.findall(text))
    body = re.sub(r"^export ", "", _IMPORT.sub(brought, text), flags=re.MULTILINE)
    return f'modules["{name}"] = (() => {{\n{body}\nreturn {{ {given} }};\n}})();'
