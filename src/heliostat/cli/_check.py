"""`heliostat check`: which names of Ray's a script uses that are not here, or do something else.

Reads the script and does not run it. What a name is, is followed through imports; a method of an
object whose class is not known is reported as possible, when only such a class of Ray's has it.
"""

import argparse
import ast
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from heliostat.cli._errors import CommandError, UsageError
from heliostat.cli._tables import write_json

_OURS = "heliostat"
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Finding(NamedTuple):
    """A use of a name that will not do what Ray does."""

    file: str
    line: int
    name: str
    state: str  # "absent", "differs" or "perhaps absent"
    reason: str


def add_parser(commands: Any) -> None:
    """Add `check`."""
    parser = commands.add_parser(
        "check", help="what of Ray a script uses that is not here, or does something else"
    )
    parser.add_argument("paths", nargs="+", metavar="SCRIPT", help="or a folder of scripts")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(carry_out=check)


def check(options: argparse.Namespace) -> int:
    """Print what was found by line; the exit code: 1 if something is absent, or no Python."""
    files = [file for path in options.paths for file in _files(path)]
    known = Known()
    findings: list[Finding] = []
    wrong = 0
    for file in files:
        try:
            findings += _check_file(file, known)
        except CommandError as error:  # the others of a folder are checked all the same
            wrong += 1
            sys.stderr.write(f"heliostat check: {error}\n")
    findings.sort()
    if options.json:
        write_json([finding._asdict() for finding in findings])
    else:
        for each in findings:
            sys.stdout.write(f"{each.file}:{each.line}: {each.name} {each.state}: {each.reason}\n")
        what = _counted(len(findings), "finding") if findings else "nothing to change"
        sys.stdout.write(f"{_counted(len(files) - wrong, 'file')}, {what}\n")
    return int(wrong > 0 or any(finding.state == "absent" for finding in findings))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _files(path: str) -> list[Path]:
    if Path(path).is_dir():
        return sorted(_scripts(path))
    if not Path(path).is_file():
        raise UsageError(f"there is no file {path!r}")
    return [Path(path)]


def _scripts(folder: str) -> Iterator[Path]:
    """Those of a project: what is hidden or a virtual environment is not its own."""
    for where, below, names in os.walk(folder):
        below[:] = [
            name
            for name in below
            if not name.startswith(".") and not Path(where, name, "pyvenv.cfg").exists()
        ]
        yield from (Path(where, name) for name in names if name.endswith(".py"))


def _check_file(file: Path, known: "Known") -> Iterator[Finding]:
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except SyntaxError as error:
        raise CommandError(f"{file}, line {error.lineno}: {error.msg}") from error
    except (OSError, ValueError) as error:  # not to be read; with zeros in it
        raise CommandError(f"{file}: {error}") from error
    names = _imported(tree)
    seen = set()
    for line, name, how in _uses(tree, names):
        if how == "place":
            name = known.named(name)
        found = known.method(name) if how == "method" else known.verdict(name)
        if found is not None and (line, name) not in seen:
            seen.add((line, name))
            shown, state, reason = found
            yield Finding(str(file), line, shown, state, reason)


def _is_rays(name: str) -> bool:
    return name.partition(".")[0] in ("ray", _OURS)


def _imported(tree: ast.AST) -> dict[str, str]:
    """Names of the script -> what of Ray's they stand for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in filter(lambda alias: _is_rays(alias.name), node.names):
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                names[alias.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom) and node.module and _is_rays(node.module):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return {name: whole.replace(_OURS, "ray", 1) for name, whole in names.items()}


def _uses(tree: ast.AST, names: dict[str, str]) -> Iterator[tuple[int, str, str]]:
    """Every use: its line, the name with Ray's path, and what it is: a "name", a "method" of who
    knows what, or an argument of which only the "place" is known."""
    inner: set[ast.AST] = set()  # of `ray.data.Dataset` only the whole is a use
    for node in ast.walk(tree):  # from the outside in
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((node.lineno, name, "name") for name in _imports(node))
        elif isinstance(node, ast.Attribute) and node not in inner:
            whole = _path(node, names)
            yield node.lineno, whole or node.attr, "name" if whole else "method"
            if whole:
                inner.update(ast.walk(node))
        elif isinstance(node, ast.Call):
            whole = _path(node.func, names)
            if whole:
                yield from _arguments(node, whole)


def _arguments(call: ast.Call, whole: str) -> Iterator[tuple[int, str, str]]:
    for place, value in enumerate(call.args):
        if isinstance(value, ast.Starred):  # and so no place after it is known
            break
        yield value.lineno, f"{whole}({place})", "place"
    for keyword in call.keywords:
        if keyword.arg:
            yield keyword.value.lineno, f"{whole}({keyword.arg})", "name"


def _imports(node: ast.Import | ast.ImportFrom) -> list[str]:
    """What of Ray's is imported, by Ray's path."""
    prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    whole = [f"{prefix}{alias.name}" for alias in node.names if alias.name != "*"]
    return [name.replace(_OURS, "ray", 1) for name in whole if _is_rays(name)]


def _path(node: ast.expr, names: dict[str, str]) -> str | None:
    """`rd.Dataset` -> `ray.data.Dataset`, where `rd` is an import of Ray's; None for all else."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _path(node.value, names)
        return None if owner is None else f"{owner}.{node.attr}"
    return None


class Known:
    """What the lists and the package itself say of a name."""

    def __init__(self) -> None:
        from heliostat.cli import _parity  # noqa: PLC0415 - other commands do without

        self._find, self._missing = _parity.find, _parity.MISSING
        self._unaccepted = _parity.unaccepted
        self._absent = _parity.read_reasons(_parity.lists() / "ray_absent.toml")
        self._differs = _parity.read_reasons(_parity.lists() / "ray_differs.toml")
        self._is_absent = _parity.reader(self._absent)
        self._is_other = _parity.reader(self._differs)
        self._methods = {
            path.rpartition(".")[2]: path
            for path in self._absent
            if "(" not in path and path.rpartition(".")[0].rpartition(".")[2][:1].isupper()
        }
        self._told: dict[str, tuple[str, str, str] | None] = {}

    def method(self, attribute: str) -> tuple[str, str, str] | None:
        """A method that only a class of Ray's has, as far as we know."""
        path = self._methods.get(attribute)
        if path is None or len(attribute) < 7:  # `context` or `copy` is anybody's
            return None
        return path, "perhaps absent", self._absent[path]

    def named(self, place: str) -> str:
        """`ray.init(0)` -> `ray.init(address)`; the call alone if nothing has this place."""
        path, _, number = place.rstrip(")").partition("(")
        try:
            parameters = inspect.signature(self._find(path, _OURS)).parameters.values()
        except (ImportError, TypeError, ValueError):  # not installed; no function; one of C's
            return path
        by_place = [p.name for p in parameters if p.kind in _BY_PLACE]
        return f"{path}({by_place[int(number)]})" if int(number) < len(by_place) else path

    def verdict(self, name: str) -> tuple[str, str, str] | None:
        """What there is to say of a name or `name(argument)`, if anything."""
        if name not in self._told:
            self._told[name] = self._look(name)
        return self._told[name]

    def _look(self, name: str) -> tuple[str, str, str] | None:
        pattern = self._is_absent(name)
        if pattern is not None and ("*" not in pattern or self._lacks(name)):
            return name, "absent", self._absent[pattern]
        pattern = self._is_other(name)
        if pattern is not None:
            return name, "differs", self._differs[pattern]
        path, _, argument = name.rstrip(")").partition("(")
        parts = path.split(".")
        private = next((part for part in parts if part.startswith("_") and part[-2:] != "__"), None)
        if private is not None:
            return name, "absent", f"{private} is Ray's own affair"
        return self._looked_up(name, path, argument)

    def _lacks(self, name: str) -> bool:
        """Whether it is not here; a pattern of the list speaks of what is not here only."""
        try:
            return self._find(name.partition("(")[0], _OURS) is self._missing
        except ImportError:
            return True

    def _looked_up(self, name: str, path: str, argument: str) -> tuple[str, str, str] | None:
        from heliostat._alias import INSTEAD  # noqa: PLC0415 - only here

        try:
            ours = self._find(path, _OURS)
        except ImportError:  # a library that it is for is not installed
            return None
        if ours is self._missing and not argument:
            part = path.split(".")[1] if "." in path else ""
            return name, "absent", INSTEAD.get(part, "there is no such name here")
        if argument and ours is not self._missing and self._unaccepted(ours, (argument,)):
            return name, "absent", f"{path} takes no argument {argument!r}"
        return None
