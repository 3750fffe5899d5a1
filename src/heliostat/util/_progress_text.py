"""What progress looks like: open lines in, text out.

Three forms share one protocol, `Form`: `Live` keeps a region at the bottom of a terminal up to
date, `Notebook` the text of one output of a cell, `Plain` writes a line now and then. All are pure:
time and terminal size are arguments.
This file knows no clock, thread, stream or environment; `progress.py` has those.
"""

import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

# Work that ends sooner leaves no trace: ten `take()` in a row shall not fill the screen.
QUIET_S = 0.3
# In a log, what ends sooner than this gets its last line only.
ANNOUNCE_S = 1.0
# In a log, a line that is still open is repeated after ten seconds, later once a minute.
REPEAT_FIRST_S, REPEAT_LAST_S = 10.0, 60.0

# An output of a notebook is written anew so often.
ANEW_S = 0.25

BAR_CELLS = 20
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
RESET = "\x1b[0m"
STYLES = {"good": "\x1b[32m", "bad": "\x1b[31m", "weak": "\x1b[2m", "name": "\x1b[1m", "": ""}


class View(NamedTuple):
    """One line at one moment. `outcome` is empty while the work goes on."""

    key: int
    name: str
    unit: str
    started: float
    done: float
    total: float | None
    note: str
    outcome: str = ""
    below: Callable[[], Sequence[str]] | None = None  # lines for a terminal that has room


class Cell(NamedTuple):
    """A piece of a live line. Where it is narrow, the largest `drop` goes first; 0 stays."""

    text: str
    style: str
    drop: int


class Form(Protocol):
    """One way to show progress."""

    def frame(
        self, opened: Sequence[View], ended: Sequence[View], now: float, size: tuple[int, int]
    ) -> str:
        """What to write now. `ended` holds what has ended since the last frame."""
        ...

    def wipe(self) -> str:
        """What to write before foreign text may follow."""
        ...


class Live:
    """A region of a terminal that is drawn again and again, with ended lines above it.

    The cursor rests at the region's first column. It is never hidden, so a process that dies
    by SIGKILL leaves a terminal in order, and text from elsewhere starts at the left margin.
    """

    def __init__(self, *, unicode: bool = True, colour: bool = True) -> None:
        self._unicode = unicode
        self._colour = colour
        self._drawn = False

    def frame(
        self, opened: Sequence[View], ended: Sequence[View], now: float, size: tuple[int, int]
    ) -> str:
        """Ended lines stay for good; below them the open ones, newest last, as many as fit."""
        width, height = max(size[0] - 1, 8), max(size[1] - 1, 1)
        kept = [view for view in ended if now - view.started >= QUIET_S]
        shown = [view for view in opened if now - view.started >= QUIET_S]
        if not kept and not shown:
            return self.wipe()
        above = [self.last_row(view, now, width) for view in kept]
        rows = self.rows(shown, now, width)
        if len(rows) > height:
            hidden = len(rows) - height + 1
            rows = [_cut(f"  and {hidden} more", width), *rows[hidden:]]
        below = [_cut(text, width) for v in shown if v.below is not None for text in v.below()]
        rows += below if len(rows) + len(below) <= height else []
        self._drawn = bool(rows)
        up = f"\x1b[{len(rows) - 1}A" if len(rows) > 1 else ""
        permanent = "".join(f"{row}\x1b[K\n" for row in above)
        return f"\r{permanent}" + "\n".join(f"{row}\x1b[K" for row in rows) + f"\x1b[J{up}\r"

    def wipe(self) -> str:
        """Remove the region; the cursor is where it began."""
        if not self._drawn:
            return ""
        self._drawn = False
        return "\r\x1b[J"

    def rows(self, shown: Sequence[View], now: float, width: int) -> list[str]:
        """The open lines, in columns."""
        # A third of the width whatever the figures are: a column that moves is hard to read.
        names = min(max(map(_name_cells, shown), default=0), max(width // 3, 6))
        return [self._row(self._open_cells(view, now), names, width) for view in shown]

    def _open_cells(self, view: View, now: float) -> list[Cell]:
        elapsed = now - view.started
        spin = SPINNER if self._unicode else "|/-\\"
        cells = [
            Cell(spin[int(elapsed * 8) % len(spin)], "good", 0),
            Cell(view.name, "name", 0),
        ]
        if view.total:
            part = min(max(view.done / view.total, 0.0), 1.0)
            cells += [Cell(self._bar(part), "good", 5), Cell(f"{part:4.0%}", "", 1)]
        cells += [
            Cell(_count(view), "", 0),
            Cell(_rate(view, now), "weak", 6),
            Cell(_seconds(elapsed), "weak", 2),
        ]
        if (left := _left_s(view, now)) is not None:
            cells.append(Cell(f"{_seconds(left)} left", "weak", 3))
        cells.append(Cell(view.note, "", 4))
        return cells

    def _bar(self, part: float) -> str:
        full = round(part * BAR_CELLS)
        solid, empty = ("━", "╌") if self._unicode else ("#", ".")
        return solid * full + empty * (BAR_CELLS - full)

    def last_row(self, view: View, now: float, width: int) -> str:
        """The row that stays; its name has all the room that the figures leave."""
        cells = _end_cells(view, now, self._unicode)
        mark, _, *rest = cells
        spare = width - _row_cells([mark, *(cell for cell in rest if cell.text)]) - 2
        return self._row(cells, min(_name_cells(view), max(width // 3, spare, 6)), width)

    def _row(self, cells: list[Cell], name_width: int, width: int) -> str:
        """Lay cells out in at most `width` columns."""
        mark, name, *rest = cells
        head = _cut(name.text, name_width)
        head += " " * (name_width - _cells(head))
        row = [mark, Cell(head, name.style, 0), *(cell for cell in rest if cell.text)]
        while _row_cells(row) > width and (worst := max(row, key=lambda cell: cell.drop)).drop:
            row.remove(worst)
        room, parts = width, []
        for cell in row:
            text = _cut(cell.text, room)
            room -= _cells(text) + 2
            style = STYLES[cell.style] if self._colour else ""
            parts.append(f"{style}{text}{RESET}" if style else text)
            if room <= 0:
                break
        return "  ".join(parts)


class Notebook:
    """The whole text of an output that is replaced again and again, without colours and cursors."""

    def __init__(self) -> None:
        self._live = Live(colour=False)
        self._ended: list[str] = []
        self._due = 0.0

    def frame(
        self, opened: Sequence[View], ended: Sequence[View], now: float, size: tuple[int, int]
    ) -> str:
        """Ended lines, then the open ones; nothing if it is too early for another text."""
        kept = [view for view in ended if now - view.started >= QUIET_S]
        shown = [view for view in opened if now - view.started >= QUIET_S]
        if not kept and (not shown or now < self._due):
            return ""
        self._due = now + ANEW_S
        width, height = size
        self._ended += [self._live.last_row(view, now, width) for view in kept]
        self._ended = self._ended[-height:]
        return "\n".join([*self._ended, *self._live.rows(shown, now, width)])

    def wipe(self) -> str:
        """What is said stays."""
        return ""


class Plain:
    """Lines for a log: when work has taken a while, now and then, and when it has ended."""

    def __init__(self) -> None:
        self._next: dict[int, float] = {}

    def frame(
        self, opened: Sequence[View], ended: Sequence[View], now: float, size: tuple[int, int]
    ) -> str:
        """Whole lines, or nothing."""
        lines = []
        for view in ended:
            self._next.pop(view.key, None)
            if now - view.started >= QUIET_S:
                lines.append(_plain_end(view, now))
        for view in opened:
            elapsed = now - view.started
            if elapsed >= self._next.get(view.key, ANNOUNCE_S):
                again_s = min(max(elapsed, REPEAT_FIRST_S), REPEAT_LAST_S)
                self._next[view.key] = elapsed + again_s
                lines.append(_plain_open(view, now))
        return "".join(f"{line}\n" for line in lines)

    def wipe(self) -> str:
        """Lines in a log stay."""
        return ""


def _end_cells(view: View, now: float, unicode: bool) -> list[Cell]:
    good = view.outcome == "done"
    mark = ("✓" if good else "✗") if unicode else ("+" if good else "x")
    return [
        Cell(mark, "good" if good else "bad", 0),
        Cell(view.name, "name", 0),
        Cell(_count(view) if not good else _amount(view.done, view.unit), "", 0),
        Cell(_seconds(now - view.started), "weak", 2),
        Cell(_rate(view, now), "weak", 3),
        Cell(view.note if good else view.outcome, "" if good else "bad", 4 if good else 1),
    ]


def _plain_open(view: View, now: float) -> str:
    share = f" ({min(view.done / view.total, 1):.0%})" if view.total else ""
    note = f", {view.note}" if view.note else ""
    return f"{view.name}: {_count(view)}{share}, {_seconds(now - view.started)}{note}"


def _plain_end(view: View, now: float) -> str:
    took = _seconds(now - view.started)
    if view.outcome != "done":
        return f"{view.name}: {view.outcome} after {took} at {_count(view)}"
    extras = "".join(f", {text}" for text in (_rate(view, now), view.note) if text)
    return f"{view.name}: {_amount(view.done, view.unit)} in {took}{extras}"


def _count(view: View) -> str:
    if view.total is None:
        return _amount(view.done, view.unit)
    return f"{_number(view.done)} of {_amount(view.total, view.unit)}"


def _amount(value: float, unit: str) -> str:
    word = unit[:-1] if value == 1 and unit.endswith("s") else unit
    return f"{_number(value)} {word}"


def _number(value: float) -> str:
    return f"{value:,}" if value == int(value) else f"{value:,.1f}"


def _rate(view: View, now: float) -> str:
    """Units per second since the start; empty where a person would not think in it."""
    elapsed = now - view.started
    if elapsed <= 0 or view.done / elapsed < 10:
        return ""
    return f"{view.done / elapsed:,.0f} {view.unit}/s"


_TOLD_S = 1000 * 3600.0


def _left_s(view: View, now: float) -> float | None:
    elapsed = now - view.started
    if not view.total or elapsed < 1 or not 0 < view.done < view.total:
        return None
    left = elapsed * (view.total - view.done) / view.done
    return left if left < _TOLD_S else None  # nobody believes more, and it may be infinite


def _seconds(value: float) -> str:
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(int(value), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _name_cells(view: View) -> int:
    return _cells(view.name)


def _row_cells(row: Sequence[Cell]) -> int:
    return sum(_cells(cell.text) for cell in row) + 2 * (len(row) - 1)


def _cells(text: str) -> int:
    """Terminal columns that `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_char_cells(char) for char in text)


def _char_cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _cut(text: str, width: int) -> str:
    """`text` in at most `width` columns; control characters would break the region."""
    text = "".join(char if char.isprintable() else " " for char in text)
    if _cells(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += _char_cells(char)
        if used >= width:
            break
        kept.append(char)
    return "".join(kept) + ("~" if width > 0 else "")
