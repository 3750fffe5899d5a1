"""Sources that may change while they are served: which have, and what of them was imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_ENDINGS = (".py", ".yaml", ".yml", ".json")
_NOT_SOURCES = ("__pycache__", "node_modules", "site-packages")


class Sources:
    """The files of a folder, as they were when somebody looked last.

    Args:
        folder: Looked through with all below it, but for hidden folders and installed packages.
        others: More files.
    """

    def __init__(self, folder: Path, others: Iterable[Path] = ()) -> None:
        self._folder = folder
        self._others = tuple(others)
        self._known = self._look()

    def changed(self) -> list[Path]:
        """The files that were changed, made or removed since the last time."""
        before, self._known = self._known, self._look()
        return sorted(p for p in {*before, *self._known} if before.get(p) != self._known.get(p))

    def forget(self) -> None:
        """Import the folder's modules anew the next time somebody asks for them."""
        inside = f"{self._folder}{os.sep}"
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name == "__main__" or not file or set(Path(file).parts) & set(_NOT_SOURCES):
                continue
            if os.path.abspath(file).startswith(inside):
                del sys.modules[name]

    def _look(self) -> dict[Path, tuple[int, int]]:
        found = {}
        for path in self._paths():
            try:
                state = path.stat()
            except OSError:  # removed meanwhile
                continue
            found[path] = state.st_mtime_ns, state.st_size
        return found

    def _paths(self) -> Iterator[Path]:
        yield from self._others
        for at, folders, files in os.walk(self._folder):
            folders[:] = [
                name
                for name in folders
                if not name.startswith(".")
                and name not in _NOT_SOURCES
                and not os.path.exists(os.path.join(at, name, "pyvenv.cfg"))
            ]
            yield from (Path(at, name) for name in files if name.endswith(_ENDINGS))
