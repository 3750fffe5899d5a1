"""Ray's public names beside ours: each is there, or listed as absent with a reason.

`python -m tools.names` reads ray_names.txt (a name a line, with its parameters) and ray_absent.toml
(groups of patterns, each with a reason) and exits 1 when a name or a parameter is neither there nor
listed, or is listed though it is there. The same for how names are called (tools/signatures.py), with
ray_otherwise.toml. What programs come to is compared in tests/ray; the page has its list too.
`--write` writes docs/compatibility.md; without it a page that is not true is one of the things to mend.
"""

import ast
import inspect
import re
import sys
import textwrap
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from heliostat.cli._parity import MISSING, find, read_reasons, reader, unaccepted
from tools import signatures

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "compatibility.md"
PROGRAMS = HERE.parent / "tests" / "ray"
LINE = re.compile(r"(?P<path>[\w.]+)(?:\((?P<parameters>.*)\))?$")


@dataclass(frozen=True)
class Name:
    """One public name of Ray and the parameters a user may pass, or None when it takes none."""

    path: str
    parameters: tuple[str, ...] | None

    @classmethod
    def parse(cls, line: str) -> "Name":
        """A line of ray_names.txt.

        >>> Name.parse("ray.get(object_refs, timeout)")
        Name(path='ray.get', parameters=('object_refs', 'timeout'))

        Raises:
            ValueError: the line is neither `a.b` nor `a.b(c, d)`.
        """
        match = LINE.match(line)
        if match is None:
            raise ValueError(f"ray_names.txt: {line!r} is neither 'a.b' nor 'a.b(c, d)'")
        inside = match["parameters"]
        parameters = None if inside is None else tuple(filter(None, inside.split(", ")))
        return cls(match["path"], parameters)

    @property
    def module(self) -> str:
        """The part before the first capital: `ray.data.Dataset.take` -> `ray.data`."""
        parts = self.path.split(".")[:-1]
        return ".".join(p for p in parts if p[0].islower())


def refuses(thing: object) -> bool:
    """Whether a function or class is there only to say that it is not offered.

    >>> def later(): raise NotImplementedError("use another")
    >>> refuses(later), refuses(print)
    (True, False)
    """
    call = thing.__init__ if isinstance(thing, type) else thing  # type: ignore[misc]
    if not inspect.isfunction(call) or ("." in call.__qualname__) != isinstance(thing, type):
        return False  # a method may be for users to write
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(call)))
    except (OSError, SyntaxError):
        return False
    body = tree.body[0].body if isinstance(tree.body[0], ast.FunctionDef) else []
    said = [one for one in body if not isinstance(one, ast.Expr)]
    return (
        bool(said) and isinstance(said[0], ast.Raise) and "NotImplementedError" in ast.dump(said[0])
    )


def gaps(name: Name, package: str) -> list[str]:
    """What is not there: the name itself, or `name(parameter)` for each parameter."""
    ours = find(name.path, package)
    if ours is MISSING or refuses(ours):
        return [name.path]
    return [f"{name.path}({p})" for p in unaccepted(ours, name.parameters or ())]


@dataclass(frozen=True)
class Report:
    """Counts per module, and what must be mended."""

    there: Counter[str]
    absent: Counter[str]
    unlisted: list[str]
    stale: list[str]


def compare(names: list[Name], reasons: Mapping[str, str], package: str) -> Report:
    """Ray's names against the modules of `package`."""
    excuse, used = reader(reasons), set[str]()
    report = Report(Counter(), Counter(), [], [])
    for name in names:
        found = gaps(name, package)
        (report.absent if name.path in found else report.there)[name.module] += 1
        for gap in found:
            pattern = excuse(gap)
            if pattern is None:
                report.unlisted.append(gap)
            else:
                used.add(pattern)
    report.stale.extend(sorted(set(reasons) - used))
    return report


def read_names(path: Path) -> list[Name]:
    """The names in a file, comments left out."""
    lines = path.read_text().splitlines()
    return [Name.parse(line) for line in lines if line and not line.startswith("#")]


@dataclass(frozen=True)
class Calls:
    """How ours are called otherwise: `name(parameter)` -> how, and why; and what must be mended."""

    compared: int
    otherwise: dict[str, str]
    unlisted: list[str]
    stale: list[str]


def compare_calls(
    known: list[signatures.Signature], reasons: Mapping[str, str], package: str
) -> Calls:
    """How Ray's names are called against ours."""
    excuse, used = reader(reasons), set[str]()
    calls = Calls(len(known), {}, [], [])
    for signature in known:
        for parameter, how in signatures.differences(signature, package).items():
            pattern = excuse(parameter)
            if pattern is None:
                calls.unlisted.append(f"{parameter} {how}")
            else:
                used.add(pattern)
                calls.otherwise[parameter] = how
    calls.stale.extend(sorted(set(reasons) - used))
    return calls


def page(
    names: list[Name], report: Report, reasons: Mapping[str, str], package: str, calls: Calls
) -> str:
    """docs/compatibility.md: counts per module, and every name that is absent or differs."""
    there, absent = report.there, report.absent
    all_ = there.total() + absent.total()
    lines = [
        "# Every name of Ray's",
        "",
        f"Of {all_:,} public names of Ray 2.60 that its packages list, {there.total():,} are here "
        f"({100 * there.total() / all_:.0f} %). `python -m tools.names --write` makes this page, and",
        "`make check` fails when it is not true.",
        "",
        "| module | there | absent |",
        "|---|---|---|",
        *(f"| `{m}` | {there[m]} | {absent[m]} |" for m in sorted(there | absent)),
        "",
        "## Here, but different",
        "",
    ]
    for reason, group in _by_reason(read_reasons(HERE / "ray_differs.toml")).items():
        lines += [f"* {reason} {', '.join(f'`{name}`' for name in group)}"]
    lines += ["", *_calls_text(calls), "", *_programs_text(), "", "## Absent", ""]
    gone = {
        gap: reasons[p] for n in names for gap in gaps(n, package) if (p := excuse_of(gap, reasons))
    }
    for reason, group in _by_reason(gone).items():
        lines += [f"**{reason}**", "", ", ".join(f"`{name}`" for name in sorted(group)), ""]
    lines += ["## There", ""]
    for module in sorted(there):
        found = [n.path for n in names if n.module == module and n.path not in gone]
        lines += [f"**`{module}`**: " + ", ".join(f"`{p[len(module) + 1 :]}`" for p in found), ""]
    return "\n".join(lines).rstrip() + "\n"


def _calls_text(calls: Calls) -> list[str]:
    why = read_reasons(HERE / "ray_otherwise.toml")
    excuse = reader(why)
    shown = {f"`{p}` {how}": why[excuse(p) or ""] for p, how in calls.otherwise.items()}
    return [
        "## Called otherwise",
        "",
        f"Of {calls.compared} names that can be called, all parameters that both have are taken in the "
        "same places, with the same defaults, but for these:",
        "",
        *(f"* {reason} {', '.join(group)}." for reason, group in _by_reason(shown).items()),
    ]


def _programs_text() -> list[str]:
    """What tests/ray compares, and lists as coming out differently."""
    found = [path.read_text().count("\n@program\n") for path in PROGRAMS.glob("programs/*.py")]
    listed = tomllib.loads((PROGRAMS / "reasons.toml").read_text())
    return [
        "## Comes out differently",
        "",
        f"`tests/ray` runs {sum(found)} small programs under both and compares what they return, raise "
        f"and write. All come to the same but {sum(map(len, listed.values()))}:",
        "",
        *(
            f"* {part}, {name.replace('_', ' ')}: {reason}"
            for part, reasons in listed.items()
            for name, reason in reasons.items()
        ),
    ]


def excuse_of(gap: str, reasons: Mapping[str, str]) -> str | None:
    """The pattern that excuses a gap."""
    return reader(reasons)(gap)


def _by_reason(names: Mapping[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, reason in names.items():
        groups.setdefault(reason, []).append(name)
    return groups


def main() -> int:
    """Print a row per module and what must be mended; 1 when there is any."""
    names = read_names(HERE / "ray_names.txt")
    report = compare(names, read_reasons(HERE / "ray_absent.toml"), "heliostat")
    print(f"{'module':<32}{'there':>6}{'absent':>8}")
    for module in sorted(report.there | report.absent):
        print(f"{module:<32}{report.there[module]:>6}{report.absent[module]:>8}")
    print(f"{'all':<32}{report.there.total():>6}{report.absent.total():>8}")
    known = signatures.read(HERE / "ray_signatures.txt")
    calls = compare_calls(known, read_reasons(HERE / "ray_otherwise.toml"), "heliostat")
    for gap in report.unlisted:
        print(f"{gap}: neither there nor in tools/ray_absent.toml with a reason")
    for pattern in report.stale:
        print(f"tools/ray_absent.toml: {pattern} is there now, or is no name of Ray's: delete it")
    for call in calls.unlisted:
        print(f"{call}: not in tools/ray_otherwise.toml with a reason")
    for pattern in calls.stale:
        print(f"tools/ray_otherwise.toml: {pattern} is called as in Ray now: delete it")
    text = page(names, report, read_reasons(HERE / "ray_absent.toml"), "heliostat", calls)
    if "--write" in sys.argv:
        PAGE.write_text(text)
    stale = not PAGE.exists() or PAGE.read_text() != text
    if stale:
        print("docs/compatibility.md is not what the lists say: python -m tools.names --write")
    wrong = [report.unlisted, report.stale, calls.unlisted, calls.stale, stale]
    return int(any(wrong))


if __name__ == "__main__":
    sys.exit(main())
