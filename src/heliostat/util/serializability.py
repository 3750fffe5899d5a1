"""inspect_serializability: which part of a value cannot be pickled, and where it is inside."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import cloudpickle  # type: ignore[import-untyped]  # ships no types

__all__ = ["FailureTuple", "inspect_serializability"]


class FailureTuple:
    """A part that cannot be pickled.

    Attributes:
        obj: The part.
        name: What it is called in its parent.
        parent: What it is part of.
        path: How to reach it from the value that was inspected.
    """

    def __init__(self, obj: Any, path: tuple[str, ...], parent: Any) -> None:
        self.obj = obj
        self.path = path
        self.parent = parent

    @property
    def name(self) -> str:
        """What it is called in its parent."""
        return self.path[-1] if self.path else ""

    def __repr__(self) -> str:
        return f"FailureTuple({'.'.join(self.path)}: {_short(self.obj)})"


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: TextIO | None = None
) -> tuple[bool, set[FailureTuple]]:
    """Find out why a value cannot be sent to another process, and print the path to the culprit.

    Looks into closures, globals that functions use, attributes, and containers.

    Args:
        base_obj: The value.
        name: What to call it.
        depth: How many levels to look into.
        print_file: Where to print; standard output if None.

    Returns:
        Whether it can be pickled, and the innermost parts that cannot.

    Example:
        >>> import threading
        >>> from heliostat.util import inspect_serializability
        >>> lock = threading.Lock()
        >>> ok, failures = inspect_serializability({"a": [lock]}, name="config")
        config cannot be pickled: cannot pickle '_thread.lock' object
          config['a']
            config['a'][0]  <-- the culprit, a lock
        >>> ok, next(iter(failures)).obj is lock
        (False, True)
    """
    name = name or getattr(base_obj, "__name__", None) or type(base_obj).__name__
    error = _refusal(base_obj)
    if error is None:
        return True, set()
    out = print_file or sys.stdout
    print(f"{name} cannot be pickled: {error}", file=out)
    failures: set[FailureTuple] = set()
    seen = {id(base_obj)}
    if not _descend(base_obj, (name,), depth, failures, seen, out):
        failures.add(FailureTuple(base_obj, (name,), None))
    return False, failures


def _descend(
    value: Any,
    path: tuple[str, ...],
    depth: int,
    failures: set[FailureTuple],
    seen: set[int],
    out: TextIO,
) -> bool:
    """Look into the parts; whether one of them is to blame."""
    found = False
    for step, part in _parts(value):
        if id(part) in seen or _refusal(part) is None:
            continue
        seen.add(id(part))
        found = True
        inner = (*path, step)
        indent, where = "  " * len(path), "".join(inner)
        last = depth <= 1 or not any(_refusal(p) for _, p in _parts(part))
        if last:
            failures.add(FailureTuple(part, inner, value))
        note = f"  <-- the culprit, {_kind(part)}" if last else ""
        print(f"{indent}{where}{note}", file=out)
        if not last:
            _descend(part, inner, depth - 1, failures, seen, out)
    return found


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What the value is made of, and how each part is reached."""
    if inspect.isfunction(value):
        yield from _used_by(value)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield f"[{key!r}]", part
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield f"[{number}]", part
    elif isinstance(value, (set, frozenset)):
        for part in value:
            yield f"{{{_short(part)}}}", part
    else:
        for name, part in _attributes(value).items():
            yield f".{name}", part


def _used_by(function: Any) -> Iterator[tuple[str, Any]]:
    used = inspect.getclosurevars(function)
    for name, part in {**used.globals, **used.nonlocals}.items():
        yield f" -> {name}", part
    for number, default in enumerate(function.__defaults__ or ()):
        yield f" default {number}", default


def _attributes(value: Any) -> dict[str, Any]:
    if inspect.ismethod(value):
        return {"__self__": value.__self__, "__func__": value.__func__}
    if inspect.isclass(value):
        return {n: p for n, p in vars(value).items() if inspect.isfunction(p) or n[:2] != "__"}
    return dict(getattr(value, "__dict__", {}))


def _refusal(value: Any) -> BaseException | None:
    try:
        cloudpickle.dumps(value)
    except Exception as error:  # noqa: BLE001 - user code runs in __reduce__, and may raise anything
        return error
    return None


def _kind(value: Any) -> str:
    return f"a {type(value).__qualname__}"


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a user's __repr__ must not hide what we look for
        return f"<repr failed: {error!r}>"
    return text if len(text) <= 60 else text[:57] + "..."
