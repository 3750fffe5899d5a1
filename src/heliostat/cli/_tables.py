"""Rows as text for a terminal, and as JSON for programs."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from heliostat.cli._sessions import plain

_NARROWEST = 8
_YEARS_MS = 1e11  # Ray calls how long something took `creation_time_ms`, too: that is not as much


def write_json(value: Any) -> None:
    """For programs: indented, and what JSON has no word for as text."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def width() -> int | None:
    """Columns of the terminal; None if it is none, and nothing need be cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], most: int | None) -> str:
    """The columns of these rows under their names.

    Args:
        rows: What to show.
        columns: Which of their fields.
        most: How wide a line may be: the widest columns give way. None: as wide as it gets.

    Example:
        >>> print(table([{"name": "f", "cpus": 1.0}, {"name": "longer", "cpus": 2}],
        ...     ["name", "cpus"], None))
        NAME    CPUS
        f       1
        longer  2
    """
    head = [column.upper() for column in columns]
    lines = [head, *([field(column, row.get(column)) for column in columns] for row in rows)]
    widths = _fitted([max(map(len, column)) for column in zip(*lines, strict=True)], most)
    return "\n".join(
        "  ".join(cut(text, n).ljust(n) for text, n in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _fitted(widths: list[int], most: int | None) -> list[int]:
    while most is not None and sum(widths) + 2 * (len(widths) - 1) > most:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths


def field(name: str, value: Any) -> str:
    """The value of a field: as `cell`, but for moments.

    Example:
        >>> field("start_time_ms", None), field("attempt", 2.0), len(field("end_time_ms", 1.7e12))
        ('', '2', 23)
    """
    if name.endswith("_time_ms") and isinstance(value, float) and value > _YEARS_MS:
        return datetime.fromtimestamp(value / 1000).isoformat(" ", "milliseconds")
    return cell(value)


def cell(value: Any) -> str:
    """One value in a table: empty for None, no `.0`, `name: amount` for resources."""
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return plain(value)
    if isinstance(value, int | float):
        return f"{value:.10g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(key)}: {cell(each)}" for key, each in value.items())
    if isinstance(value, Sequence):
        return ", ".join(map(cell, value))
    return plain(value)


def cut(text: str, most: int | None) -> str:
    """The text, shortened to so many characters."""
    return text if most is None or len(text) <= most else f"{text[: most - 1]}…"


def megabytes(size: float) -> str:
    """A size for people.

    Example:
        >>> megabytes(1_234_567_890)
        '1,234.6 MB'
    """
    return f"{size / 1e6:,.1f} MB"
