"""What a trial prints, in files of its directory as well. For what Python prints, not for its processes."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TextIO


class Tee:
    """A stream that writes into a file, too; in all else it is the stream."""

    def __init__(self, stream: TextIO, file: TextIO) -> None:
        self._stream = stream
        self._file = file

    def write(self, text: str) -> int:
        """Write to both."""
        self._file.write(text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        """Write each to both."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush both."""
        self._file.flush()
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def teed(directory: str, names: tuple[str, str]) -> Iterator[None]:
    """While it lasts, what goes to stdout and stderr goes into these files, too; one, if they are equal.

    Lines are there when they are complete: a kill takes none. An attempt after another adds to them.
    """
    before = sys.stdout, sys.stderr
    with ExitStack() as opened:
        files = {
            name: opened.enter_context(
                open(os.path.join(directory, name), "a", buffering=1, encoding="utf-8")
            )
            for name in names
        }
        out, err = (Tee(stream, files[name]) for stream, name in zip(before, names, strict=True))
        sys.stdout, sys.stderr = out, err
        try:
            yield
        finally:
            # Unless the user's code has put something else there.
            if sys.stdout is out:
                sys.stdout = before[0]
            if sys.stderr is err:
                sys.stderr = before[1]
