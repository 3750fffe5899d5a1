"""What of Ray's public names is here: how one is found, and the lists of those that are not.

The lists are `ray_absent.toml` and `ray_differs.toml`; in a checkout they lie in `tools/`, whose
`names.py` keeps them true, and in an installed package in `parity/` beside this file.
"""

import importlib
import inspect
import sys
import tomllib
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

MISSING = object()
_PACKAGED = Path(__file__).parent / "parity"


def lists() -> Path:
    """Where the lists are."""
    return _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[3] / "tools"


def part_of(owner: Any, part: str, dotted: str) -> Any:
    """An attribute, a submodule, or a field that only instances have; else MISSING.

    Raises:
        ModuleNotFoundError: a module of ours is there but needs one that is not installed.
    """
    try:
        if hasattr(owner, part):
            return getattr(owner, part)
        if inspect.ismodule(owner):
            return importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        if error.name is None or not dotted.startswith(error.name):
            raise
    return None if part in instance_names(owner) else MISSING


def instance_names(owner: Any) -> set[str]:
    """Fields of a class: those it declares, and those that its constructor sets or reads."""
    code = getattr(getattr(owner, "__init__", None), "__code__", None)
    declared = set(getattr(owner, "__annotations__", ()))
    return declared | set(code.co_names) if inspect.isclass(owner) and code else declared


def find(path: str, package: str) -> Any:
    """What `ray.x.y` is in our package, or MISSING."""
    value: Any = importlib.import_module(package)
    dotted = package
    for part in path.split(".")[1:]:
        # A function may have the name of its module: ray.util.placement_group is both.
        owner = value if hasattr(value, part) else sys.modules.get(dotted, value)
        dotted = f"{dotted}.{part}"
        value = part_of(owner, part, dotted)
        if value is MISSING:
            return MISSING
    return value


def unaccepted(ours: object, parameters: tuple[str, ...]) -> list[str]:
    """Parameters of Ray's that a call of ours would refuse by name."""
    if not callable(ours):
        return []
    try:
        signature = inspect.signature(ours)
    except ValueError:
        return []
    kinds = {p.kind for p in signature.parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return []
    return [p for p in parameters if not p.startswith("*") and p not in signature.parameters]


def reader(reasons: Mapping[str, str]) -> Callable[[str], str | None]:
    """A function from a gap to the pattern that excuses it; an exact entry comes before a pattern."""
    patterns = [p for p in reasons if "*" in p]

    def excuse(gap: str) -> str | None:
        if gap in reasons:
            return gap
        return next((p for p in patterns if fnmatchcase(gap, p)), None)

    return excuse


def read_reasons(path: Path) -> dict[str, str]:
    """Pattern -> reason, of all groups of a file."""
    groups = next(iter(tomllib.loads(path.read_text()).values()))
    return {name: group["reason"] for group in groups for name in group["names"]}
