"""DocsExamples: our docstrings say `Example:`, the site's reader of them knows a section `Examples:`.

Without it an example is a paragraph in which `>>>` are quotations. What a module says to those who
change it, the map of its files, is left out: the site is for users. mkdocs.yml names this file.
"""

import re
from typing import Any

import griffe

_TITLE = re.compile(r"^( *)Example:$", re.MULTILINE)
_FILES = re.compile(r"`[\w/]*(\.py|/)`|`_\w+`")


class DocsExamples(griffe.Extension):
    """Has sections of examples read as such."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """An object has been read: give its section the name that is known."""
        if obj.docstring is not None:
            obj.docstring.value = _TITLE.sub(r"\1Examples:", obj.docstring.value)

    def on_module(self, *, mod: griffe.Module, **_: Any) -> None:
        """A module has been read: leave out what names files."""
        if mod.docstring is not None:
            parts = mod.docstring.value.split("\n\n")
            mod.docstring.value = "\n\n".join(part for part in parts if not _FILES.search(part))
