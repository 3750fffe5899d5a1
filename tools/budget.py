"""Sizes that keep the code readable: lines of files, statements of functions, modules without tests.

`python -m tools.budget` prints a table of the packages and exits 1 when something is over its
budget. The numbers are in pyproject.toml under `tool.budget`. It knows nothing of what the code
does, and leaves complexity to ruff.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
SOURCE = Path("src/heliostat")
# What stands beside a package rather than in it, and has a budget of its own.
ALONE = frozenset(
    {"_engines/ray", "data/_ordering", "data/connectors", "data/extensions", "util/tpu"}
)


@dataclass(frozen=True)
class Limits:
    """What pyproject.toml allows."""

    file_lines: int
    facade_lines: int
    facades: frozenset[str]
    function_statements: int
    package_lines: Mapping[str, int]
    tested_elsewhere: Mapping[str, str]

    @classmethod
    def read(cls, root: Path) -> "Limits":
        """The limits of the repository at `root`.

        Raises:
            KeyError: a number is missing from `tool.budget`.
        """
        table = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["budget"]
        return cls(
            file_lines=table["file_lines"],
            facade_lines=table["facade_lines"],
            facades=frozenset(table["facades"]),
            function_statements=table["function_statements"],
            package_lines=table["package_lines"],
            tested_elsewhere=table.get("tested_elsewhere", {}),
        )


@dataclass(frozen=True)
class Function:
    """A function's name, where it begins and how many statements it has."""

    name: str
    line: int
    statements: int


@dataclass(frozen=True)
class Module:
    """One source file: its path below src/heliostat, lines and functions."""

    path: Path
    lines: int
    functions: tuple[Function, ...]

    @property
    def package(self) -> str:
        """The first folder, or `rest` for files at the top; some folders in it have a budget alone."""
        if "/".join(self.path.parts[:2]) in ALONE:
            return "/".join(self.path.parts[:2])
        return self.path.parts[0] if len(self.path.parts) > 1 else "rest"


def functions_of(source: str) -> Iterator[Function]:
    """Every function of a module; nested ones count towards the outer one too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = sum(isinstance(n, ast.stmt) for n in ast.walk(node)) - 1
            has_docstring = ast.get_docstring(node, clean=False) is not None
            yield Function(node.name, node.lineno, inner - has_docstring)


def modules(root: Path) -> list[Module]:
    """All modules of the package, sorted by path."""
    found = []
    for file in sorted((root / SOURCE).rglob("*.py")):
        source = file.read_text()
        found.append(
            Module(
                path=file.relative_to(root / SOURCE),
                lines=len(source.splitlines()),
                functions=tuple(functions_of(source)),
            )
        )
    return found


def home_of_tests(module: Path) -> Path:
    """Where the tests of a module belong: `data/_pipeline.py` -> `tests/data/test_pipeline.py`."""
    folders = [part.lstrip("_") for part in module.parts[:-1]]
    return Path("tests", *folders, f"test_{module.stem.lstrip('_')}.py")


def untested(found: list[Module], root: Path) -> list[Path]:
    """Modules that do something (a function of two statements) and have no test file of their own."""
    return [
        m.path
        for m in found
        if any(f.statements > 1 for f in m.functions)
        and m.path.stem != "__init__"
        and not (root / home_of_tests(m.path)).exists()
    ]


def complaints(found: list[Module], root: Path, limits: Limits) -> list[str]:
    """What is over its budget, a line each, with the file, the figure and the bound."""
    said = []
    for m in found:
        facade = str(m.path) in limits.facades
        most = limits.facade_lines if facade else limits.file_lines
        if m.lines > most:
            said.append(
                f"{SOURCE / m.path}: {m.lines} lines, at most {most}: does one idea own it?"
            )
        said += [
            f"{SOURCE / m.path}:{f.line}: {f.name} has {f.statements} statements, "
            f"at most {limits.function_statements}"
            for f in m.functions
            if f.statements > limits.function_statements
        ]
    for package, most in limits.package_lines.items():
        lines = sum(m.lines for m in found if m.package == package)
        if lines > most:
            said.append(f"{SOURCE / package}: {lines} lines in all, at most {most}")
    return said + untested_complaints(untested(found, root), root, limits.tested_elsewhere)


def untested_complaints(lacking: list[Path], root: Path, elsewhere: Mapping[str, str]) -> list[str]:
    """Modules without tests that no pattern of `tested_elsewhere` excuses, and idle patterns."""
    said = [
        f"{SOURCE / path}: no {home_of_tests(path)}; write it, or say in pyproject.toml "
        "(tool.budget.tested_elsewhere) which test covers it"
        for path in lacking
        if not any(fnmatchcase(str(path), pattern) for pattern in elsewhere)
    ]
    for pattern, where in sorted(elsewhere.items()):
        if not any(fnmatchcase(str(path), pattern) for path in lacking):
            said.append(f"tool.budget.tested_elsewhere: {pattern} needs no entry any more")
        elif not (root / where).exists():
            said.append(f"tool.budget.tested_elsewhere: {pattern} -> {where}: does not exist")
    return said


def table(found: list[Module], limits: Limits) -> str:
    """Packages with their size beside their budget."""
    rows = [f"{'package':<16}{'files':>6}{'lines':>8}{'budget':>8}{'file':>6}{'function':>10}"]
    for package in sorted({m.package for m in found}):
        group = [m for m in found if m.package == package]
        statements = [f.statements for m in group for f in m.functions] or [0]
        rows.append(
            f"{package:<16}{len(group):>6}{sum(m.lines for m in group):>8}"
            f"{limits.package_lines.get(package, '-'):>8}"
            f"{median(m.lines for m in group):>6.0f}{median(statements):>10.0f}"
        )
    return "\n".join([*rows, "(file: median lines; function: median statements)"])


def main() -> int:
    """Print the table and the complaints; 1 when there is any."""
    found, limits = modules(ROOT), Limits.read(ROOT)
    print(table(found, limits))
    said = complaints(found, ROOT, limits)
    print(*said, sep="\n", end="\n" if said else "")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
