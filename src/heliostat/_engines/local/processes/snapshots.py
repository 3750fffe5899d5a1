"""Copies of directories, modules and archives, for workers to begin in or import from.

A copy is what was there when the session first needed it; what the driver's program or the user
changes later is not seen, and what workers write into it is not seen by others.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Callable, Sequence

# As Ray's: what nobody means to copy.
ALWAYS_EXCLUDED = (".git", ".venv", "venv", "__pycache__")
_IGNORE_FILES = (".gitignore", ".rayignore")


def copy_directory(source: str, target: str, excludes: Sequence[str]) -> None:
    """Copy a directory, except for what `excludes` and its .gitignore files name.

    Args:
        source: The directory.
        target: Where the copy shall be; not there yet.
        excludes: Patterns in the notation of .gitignore, seen from `source`.
    """
    shutil.copytree(source, target, symlinks=True, ignore=_ignore(source, excludes))


def _ignore(source: str, excludes: Sequence[str]) -> Callable[[str, list[str]], set[str]]:
    base = Patterns([*ALWAYS_EXCLUDED, *excludes])
    levels: dict[str, list[tuple[str, Patterns]]] = {}

    def ignore(folder: str, names: list[str]) -> set[str]:
        above = levels.get(os.path.dirname(folder), [(source, base)])
        here = [line for name in _IGNORE_FILES if name in names for line in _lines(folder, name)]
        levels[folder] = [*above, (folder, Patterns(here))] if here else above
        left_out = set()
        for name in names:
            path = os.path.join(folder, name)
            is_folder = os.path.isdir(path) and not os.path.islink(path)
            verdict = None
            for start, patterns in levels[folder]:
                found = patterns.match(os.path.relpath(path, start), is_folder=is_folder)
                verdict = verdict if found is None else found
            if verdict:
                left_out.add(name)
        return left_out

    return ignore


def _lines(folder: str, name: str) -> list[str]:
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


class Patterns:
    """Lines of a .gitignore file.

    Example:
        >>> patterns = Patterns(["*.pt", "/data/", "!keep.pt"])
        >>> patterns.match("a/x.pt", is_folder=False), patterns.match("keep.pt", is_folder=False)
        (True, False)
        >>> patterns.match("data", is_folder=True), patterns.match("a/data", is_folder=True)
        (True, None)
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self._rules = [rule for line in lines if (rule := _rule(line.rstrip())) is not None]

    def match(self, path: str, *, is_folder: bool) -> bool | None:
        """Whether the last pattern that fits leaves the path out or keeps it; None: none fits."""
        verdict = None
        for expression, leaves_out, folders_only in self._rules:
            if (is_folder or not folders_only) and expression.fullmatch(path):
                verdict = leaves_out
        return verdict


def _rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    if not line or line.startswith("#"):
        return None
    leaves_out = not line.startswith("!")
    pattern = line.removeprefix("!").removeprefix("\\")
    folders_only = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    if pattern.startswith("./"):
        pattern = pattern[1:]
    anchored = "/" in pattern
    pattern = pattern.removeprefix("/")
    prefix = "" if anchored else "(?:.*/)?"
    return re.compile(prefix + _expression(pattern)), leaves_out, folders_only


def _expression(pattern: str) -> str:
    """A pattern as a regular expression: `**` crosses slashes, `*` and `?` do not."""
    parts = re.split(r"(\*\*/|/\*\*|\*\*|\*|\?|\[[^]]+\])", pattern)
    special = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        special.get(part) or (_set(part) if part.startswith("[") else re.escape(part))
        for part in parts
    )


def _set(part: str) -> str:
    if len(part) < 3:
        return re.escape(part)
    return "[" + part[1:-1].replace("!", "^", 1).replace("\\", "\\\\") + "]"


def unpack(archive: str, target: str) -> None:
    """Unpack a .zip file or a wheel into a new directory.

    Raises:
        zipfile.BadZipFile: If it is none.
    """
    with zipfile.ZipFile(archive) as file:
        file.extractall(target)
    if archive.endswith(".whl"):
        _merge_data(target)


def _merge_data(target: str) -> None:
    """A wheel may keep modules in `name.data/purelib` and `platlib`; they belong at the top."""
    for name in os.listdir(target):
        if not name.endswith(".data"):
            continue
        for kind in ("purelib", "platlib"):
            folder = os.path.join(target, name, kind)
            if os.path.isdir(folder):
                shutil.copytree(folder, target, dirs_exist_ok=True)


def take(source: str, target: str, excludes: Sequence[str], *, as_module: bool) -> None:
    """A copy of a directory, a module or an archive in a new directory.

    Args:
        source: What to copy.
        target: The new directory.
        excludes: What to leave out of directories.
        as_module: Whether `target` is to be imported from: a directory is a package then.
    """
    if source.endswith((".zip", ".whl")) and not os.path.isdir(source):
        unpack(source, target)
    elif os.path.isdir(source):
        inside = os.path.join(target, os.path.basename(source)) if as_module else target
        copy_directory(source, inside, excludes)
    else:
        os.makedirs(target)
        shutil.copy2(source, target)
