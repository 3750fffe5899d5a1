"""Equal lines of several workers become one with a count, for who asks for it. Pure.

The first is shown at once. The same line of other workers within a few seconds of it is shown
once at the end of them, with how many there were. What one worker alone repeats is never folded,
nor are lines that differ in anything.
"""

from __future__ import annotations

from typing import Any

from heliostat._engines.local.output.lines import is_object

_MOST = 1000  # lines that are remembered; the oldest gives way
_RESET = b"\x1b[0m"

Line = tuple[bool, str, bytes]  # whether to stderr, the prefix, and the line


class _Seen:
    """A line that was shown a little while ago."""

    def __init__(self, source: Any, until: float) -> None:
        self.source: Any = source  # who printed it first
        self.until = until
        self.count = 0  # of others since then
        self.prefix = ""  # of the last of them


class Repeats:
    """Which lines are shown.

    Args:
        window_s: How long the same line of others is held back.

    Example:
        >>> repeats = Repeats(5.0)
        >>> line = (False, "(f pid=1) ", b"hello")
        >>> [repeats.shows(line, source, 0.0) for source in (1, 1, 2, 3, 1)]
        [True, True, False, False, False]
        >>> repeats.due(), repeats.over(5.0)
        (5.0, [(False, '(f pid=1) ', b'hello [repeated 3x across cluster]')])
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._recent: dict[tuple[bool, bytes], _Seen] = {}  # the oldest first
        self._surplus: list[Line] = []  # gave way, and is to be shown

    def shows(self, line: Line, source: Any, now: float) -> bool:
        """Whether a line is shown now; otherwise `over` has it later, counted."""
        to_stderr, prefix, text = line
        if not text.strip() or is_object(text):  # JSON is read by programs, which count themselves
            return True
        key = to_stderr, text
        seen = self._recent.get(key)
        if seen is None:
            if len(self._recent) >= _MOST:
                self._forget(next(iter(self._recent)), self._surplus)
            self._recent[key] = _Seen(source, now + self._window_s)
            return True
        if not seen.count and seen.source == source:
            return True
        seen.count += 1
        seen.prefix = prefix
        return False

    def due(self) -> float | None:
        """When `over` has something; None if nothing is held back."""
        return next((seen.until for seen in self._recent.values() if seen.count), None)

    def over(self, now: float) -> list[Line]:
        """What was held back for long enough."""
        lines, self._surplus = self._surplus, []
        for key in [key for key, seen in self._recent.items() if seen.until <= now]:
            self._forget(key, lines)
        return lines

    def _forget(self, key: tuple[bool, bytes], lines: list[Line]) -> None:
        seen, (to_stderr, text) = self._recent.pop(key), key
        if seen.count:
            lines.append((to_stderr, seen.prefix, _counted(text, seen.count)))


def _counted(text: bytes, count: int) -> bytes:
    if count == 1:
        return text
    if b"\x1b[" in text and not text.endswith(_RESET):
        text += _RESET
    return text + f" [repeated {count}x across cluster]".encode()
