"""How Ray's public names are called beside ours: order, what must be named, what has which default.

Reads tools/ray_signatures.txt, which tools/ray_signatures.py writes with an interpreter that has Ray.
A parameter that we lack is tools/names.py's affair; here are those that both have.
"""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heliostat.cli._parity import MISSING, find

UNSAID = ("...", "'DEPRECATED'")  # defaults whose text says nothing
PLAIN = (type(None), bool, int, float, str)


@dataclass(frozen=True)
class Parameter:
    """One parameter of Ray's; `place` is None where it has to be named."""

    name: str
    place: int | None
    default: str | None


@dataclass(frozen=True)
class Signature:
    """A name of Ray's and what it takes, without `*args` and `**kwargs`."""

    path: str
    parameters: tuple[Parameter, ...]

    @classmethod
    def parse(cls, line: str) -> "Signature":
        """A line of ray_signatures.txt.

        >>> Signature.parse("ray.get(refs, *, timeout=None)").parameters[1]
        Parameter(name='timeout', place=None, default='None')

        Raises:
            SyntaxError: the line is not what Python would call a signature.
        """
        path, _, inside = line.partition("(")
        function = ast.parse(f"def f({inside[:-1]}): ...").body[0]
        assert isinstance(function, ast.FunctionDef)
        taken = function.args
        positional = [*taken.posonlyargs, *taken.args]
        # Of what has a place, the last ones have defaults.
        bare = [None] * (len(positional) - len(taken.defaults))
        pairs = zip(positional, [*bare, *taken.defaults], strict=True)
        placed = [Parameter(a.arg, n, _text(d)) for n, (a, d) in enumerate(pairs)]
        named = zip(taken.kwonlyargs, taken.kw_defaults, strict=True)
        return cls(path, (*placed, *(Parameter(a.arg, None, _text(d)) for a, d in named)))


def _text(default: ast.expr | None) -> str | None:
    return None if default is None else ast.unparse(default)


def read(path: Path) -> list[Signature]:
    """The signatures in a file, comments left out."""
    lines = path.read_text().splitlines()
    return [Signature.parse(line) for line in lines if line and not line.startswith("#")]


def differences(theirs: Signature, package: str) -> dict[str, str]:
    """`name(parameter)` -> how ours is called otherwise, for a call that works with Ray."""
    ours = _ours(theirs.path, package)
    if ours is None:
        return {}
    return {
        f"{theirs.path}({each.name})": words
        for each in theirs.parameters
        if (words := _difference(each, ours)) is not None
    }


def _ours(path: str, package: str) -> list[inspect.Parameter] | None:
    """What ours takes, without the instance itself; None when it is no function or class."""
    value = find(path, package)
    if value is MISSING or not callable(value):
        return None
    try:
        taken = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return None
    owner_path, _, name = path.rpartition(".")
    owner = find(owner_path, package)
    if inspect.isclass(owner) and not inspect.isclass(value):
        bound = isinstance(inspect.getattr_static(owner, name, None), staticmethod | classmethod)
        return taken if bound else taken[1:]
    return taken


def _difference(theirs: Parameter, ours: list[inspect.Parameter]) -> str | None:
    placed = [
        each for each in ours if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    mine = next((each for each in ours if each.name == theirs.name), None)
    if mine is None or mine.kind in (mine.VAR_POSITIONAL, mine.VAR_KEYWORD):
        return None  # absent, or taken by **kwargs
    return "; ".join(_said(theirs, mine, placed)) or None


def _said(
    theirs: Parameter, mine: inspect.Parameter, placed: list[inspect.Parameter]
) -> Iterator[str]:
    if mine.kind is mine.POSITIONAL_ONLY:
        yield "cannot be named"
    if theirs.place is not None and mine not in placed:
        yield "has to be named"
    elif theirs.place is not None and placed.index(mine) != theirs.place:
        yield f"stands at place {placed.index(mine) + 1}, in Ray at {theirs.place + 1}"
    if theirs.default is None:
        return
    if mine.default is mine.empty:
        yield "has to be given"
    elif type(mine.default) in PLAIN and theirs.default not in (*UNSAID, repr(mine.default)):
        yield f"is {mine.default!r} by default, in Ray {theirs.default}"
