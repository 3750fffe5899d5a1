"""Chunks of a worker's output become lines of the driver's. Pure: the time is an argument."""

from __future__ import annotations

LONGEST = 64 << 10  # a longer line is shown in pieces, so that memory stays bounded
PATIENCE_S = 1.0  # an unfinished line is shown after this, and overwritten ones not more often
_RESET = "\x1b[0m"


class Lines:
    """The lines of one stream.

    What a carriage return overwrites (a progress bar) is shown once a second at most, as a line.

    Example:
        >>> lines = Lines()
        >>> lines.feed(b"one\\ntw", 0.0), lines.feed(b"o\\nthree", 0.1), lines.end()
        ([b'one'], [b'two'], [b'three'])
    """

    def __init__(self) -> None:
        self._rest = b""
        self._began = 0.0  # when the rest began
        self._shown = 0.0  # when a part of an unfinished line was last shown
        self._broken = False  # the line that goes on was shown in part

    def feed(self, data: bytes, now: float) -> list[bytes]:
        """The lines that are to be shown now."""
        *whole, rest = (self._rest + data).split(b"\n")
        lines = []
        for line in whole:
            final = _last(line)
            if final or not self._broken:
                lines.append(final)
            self._broken = False
        if whole or not self._rest:
            self._began = now
        before, _, last = rest.rpartition(b"\r")
        if before and last:  # it was overwritten
            rest = last
            if now - self._shown >= PATIENCE_S:
                lines.append(_last(before))
                self._shown, self._broken = now, True
        while len(rest) >= LONGEST:
            cut = _boundary(rest, LONGEST)
            lines.append(rest[:cut])
            rest, self._broken = rest[cut:], True
        self._rest = rest
        return lines

    def due(self) -> float | None:
        """When the unfinished line is to be shown; None if there is none."""
        return self._began + PATIENCE_S if self._rest else None

    def end(self) -> list[bytes]:
        """The line that is not finished, if there is one."""
        rest, self._rest = _last(self._rest), b""
        self._broken = bool(rest)
        return [rest] if rest else []


def _last(line: bytes) -> bytes:
    """What a terminal would show of it in the end."""
    if b"\r" not in line:
        return line
    return next((part for part in reversed(line.split(b"\r")) if part), b"")


def _boundary(data: bytes, most: int) -> int:
    """Where to cut so that no character of UTF-8 is torn."""
    for cut in range(most, most - 4, -1):
        if cut < len(data) and data[cut] & 0xC0 != 0x80:
            return cut
    return most


def display(line: bytes, prefix: str) -> str:
    """A line as people see it.

    A JSON object stays one, for whoever reads the stream; what is no UTF-8 is shown as escapes;
    colours end with the line.

    Example:
        >>> display(b"caf\\xc3\\xa9", "(f pid=1) "), display(b'{"a": 1}', "(f pid=1) ")
        ('(f pid=1) café', '{"a": 1}')
    """
    text = line.decode(errors="backslashreplace")
    if "\x1b[" in text and not text.endswith(_RESET):
        text += _RESET
    return text if is_object(line) else prefix + text


def is_object(line: bytes) -> bool:
    """Whether a line is a JSON object."""
    if line[:1] != b"{" or line[-1:] != b"}":
        return False
    import json  # noqa: PLC0415 - few programs print such lines

    try:
        json.loads(line)
    except ValueError:
        return False
    return True
