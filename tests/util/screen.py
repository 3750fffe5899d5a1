"""As much of a terminal as our progress lines and ordinary output use, drawn into rows."""

import re
import unicodedata

TOKEN = re.compile(r"\x1b\[(?P<count>\d*)(?P<command>[A-Za-z])|(?P<char>.)", re.DOTALL)


class Screen:
    """Rows of characters and a cursor. A sequence that it does not know is an error."""

    def __init__(self, columns, rows):
        self._columns = columns
        self._rows = rows
        self._cells = [[" "] * columns for _ in range(rows)]
        self.row = 0
        self.column = 0

    def feed(self, text):
        """Draw text that ends between two tokens, not within one."""
        for token in TOKEN.finditer(text):
            if (char := token["char"]) is not None:
                self._draw(char)
            else:
                self._obey(token["command"], int(token["count"] or 0))

    def lines(self):
        return ["".join(cells).rstrip() for cells in self._cells]

    def _obey(self, command, count):
        if command == "A":
            self.row = max(self.row - max(count, 1), 0)
        elif command == "K" and count == 0:
            self._clear_line()
        elif command == "J" and count == 0:
            self._clear_line()
            for row in range(self.row + 1, self._rows):
                self._cells[row] = [" "] * self._columns
        else:
            assert command == "m", f"unknown sequence: {count}{command}"

    def _clear_line(self):
        self._cells[self.row][self.column :] = [" "] * (self._columns - self.column)

    def _draw(self, char):
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self._line_feed()
        else:
            assert char.isprintable(), f"unknown control character {char!r}"
            wide = unicodedata.east_asian_width(char) in "WF"
            if self.column + wide >= self._columns:
                self.column = 0
                self._line_feed()
            self._cells[self.row][self.column : self.column + 1 + wide] = [char] + [""] * wide
            self.column += 1 + wide

    def _line_feed(self):
        if self.row + 1 < self._rows:
            self.row += 1
            return
        del self._cells[0]
        self._cells.append([" "] * self._columns)
