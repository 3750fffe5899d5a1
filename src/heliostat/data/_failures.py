"""Rows for which a function raises, and files that cannot be read: what becomes of them."""

import json
import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OnError:
    """What happens to a row for which a function raises, or to a file that cannot be read.

    Attributes:
        action: `raise`, `skip`, `null` or `quarantine`.
        folder: Where failing rows are put.
    """

    action: str = "raise"
    folder: str | None = None


RAISE = OnError()


class Failures:
    """What becomes of the failing rows of one step, in one task.

    Args:
        on_error: What the user said.
        step: Its name.
    """

    def __init__(self, on_error: OnError, step: str) -> None:
        self.action = on_error.action
        self._folder = on_error.folder
        self._step = step
        self.count = 0

    def add(self, row: Mapping[str, Any], error: BaseException) -> None:
        """Take a row; raises the error where the user said nothing else.

        Args:
            row: The function's input.
            error: What it raised.
        """
        if self.action == "raise":
            raise error
        self.count += 1
        if self.action == "quarantine":
            self._save(row, error)

    def _save(self, row: Mapping[str, Any], error: BaseException) -> None:
        assert self._folder is not None
        os.makedirs(self._folder, exist_ok=True)
        entry = {
            "step": self._step,
            "error": f"{type(error).__name__}: {error}",
            "traceback": "".join(traceback.format_exception(error)),
            "row": dict(row),
        }
        # A file for each process, written a line at a time: nobody else writes into it.
        path = os.path.join(self._folder, f"failed-{os.getpid()}.jsonl")
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    """Arrays as lists; what JSON has no word for as its repr."""
    tolist = getattr(value, "tolist", None)
    return tolist() if callable(tolist) else repr(value)
