"""DocsExamples: our docstrings say `Example:`, the site's reader of them knows a section `Examples:`.

Without it an example is a paragraph in which `>>>` are quotations. mkdocs.yml names this file.
"""

import re
from typing import Any

import griffe

_TITLE = re.compile(r"^( *)Example:$", re.MULTILINE)


class DocsExamples(griffe.Extension):
    """Has sections of examples read as such."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """An object has been read: give its section the name that is known."""
        if obj.docstring is not None:
            obj.docstring.value = _TITLE.sub(r"\1Examples:", obj.docstring.value)
