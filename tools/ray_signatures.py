"""Write tools/ray_signatures.txt: how each name of ray_names.txt that can be called is called.

`python tools/ray_signatures.py`, with an interpreter that has Ray 2.60 and not Heliostat. A line is
`ray.get(object_refs, *, timeout=None)`: `*` before what has to be named, `**name` and `*name` as in
Python, and `...` for a default that is no plain value. tools/names.py compares these lines with ours.
"""

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PLAIN = (type(None), bool, int, float, str)


def find(path: str) -> Any:
    """What a dotted path stands for, or None."""
    value: Any = importlib.import_module("ray")
    dotted = "ray"
    for part in path.split(".")[1:]:
        owner = value if hasattr(value, part) else sys.modules.get(dotted, value)
        dotted = f"{dotted}.{part}"
        try:
            value = (
                getattr(owner, part) if hasattr(owner, part) else importlib.import_module(dotted)
            )
        except ImportError:
            return None
    return value


def default_of(value: object) -> str:
    """A default as text; `...` where its text would say nothing."""
    return repr(value) if type(value) in PLAIN else "..."


def text(parameters: list[inspect.Parameter]) -> str:
    """Parameters as in the source of a function, without annotations."""
    found, named = list[str](), False
    for each in parameters:
        if each.kind is each.VAR_POSITIONAL:
            found.append(f"*{each.name}")
            named = True
        elif each.kind is each.VAR_KEYWORD:
            found.append(f"**{each.name}")
        else:
            if each.kind is each.KEYWORD_ONLY and not named:
                found.append("*")
                named = True
            has = each.default is not each.empty
            found.append(f"{each.name}={default_of(each.default)}" if has else each.name)
    return ", ".join(found)


def line(path: str) -> str | None:
    """The line of a name; None when it cannot be called or does not say how."""
    owner, value = find(path.rpartition(".")[0]), find(path)
    if not callable(value):
        return None
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return None
    static = inspect.isclass(owner) and isinstance(
        inspect.getattr_static(owner, path.rpartition(".")[2]), staticmethod | classmethod
    )
    if inspect.isclass(owner) and not static and not inspect.isclass(value) and parameters:
        parameters = parameters[1:]
    return f"{path}({text(parameters)})"


def main() -> None:
    """Write the file."""
    lines = (HERE / "ray_names.txt").read_text().splitlines()
    names = [each.partition("(")[0] for each in lines if each and not each.startswith("#")]
    # Classes that a name stands for and that take nothing said how they are called are left out.
    wanted = {each.partition("(")[0] for each in lines if "(" in each}
    found = [known for name in names if name in wanted and (known := line(name))]
    head = "# How Ray 2.60.0 is called, by tools/ray_signatures.py. tools/names.py compares.\n"
    (HERE / "ray_signatures.txt").write_text(head + "\n".join(found) + "\n")


if __name__ == "__main__":
    main()
