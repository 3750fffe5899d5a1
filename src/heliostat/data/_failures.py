"""Rows for which a function raises, and files that cannot be read: what becomes of them."""

import json
import os
import re
import traceback
from collections.abc import Iterable, Mapping
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


def says(patterns: Iterable[str], message: str) -> bool:
    """Whether a message has one of these texts, or one matches it as a regular expression.

    Args:
        patterns: Texts.
        message: What an error says.

    Example:
        >>> says(["slow", "HTTP 5.."], "AWS: HTTP 503")
        True
    """
    return any(one in message or _matches(one, message) for one in patterns)


def _matches(pattern: str, message: str) -> bool:
    try:
        return re.search(pattern, message) is not None
    except re.error:
        # A text with signs of regular expressions in it.
        return False


@dataclass(frozen=True)
class Retries:
    """Which errors of users' functions have their task tried again.

    Attributes:
        errors: True for all, or what their messages have.
        most: How often.
        in_actors: For pools: True for all, or classes.
    """

    errors: bool | tuple[str, ...] = False
    most: int = 0
    in_actors: bool | tuple[type[BaseException], ...] = False

    def allow(self, error: BaseException, failed: int, *, in_actor: bool) -> bool:
        """Whether a task is tried again.

        Args:
            error: What it raised.
            failed: How often it has failed before.
            in_actor: It ran in a pool.
        """
        cause = getattr(error, "cause", error)
        kinds = self.in_actors
        if in_actor and (kinds is True or (kinds and isinstance(cause, kinds))):
            return failed < (self.most or ACTOR_RETRIES)
        if failed >= self.most:
            return False
        return self.errors if isinstance(self.errors, bool) else says(self.errors, str(cause))


NO_RETRIES = Retries()
# Without a number of the user's.
ACTOR_RETRIES = 3


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
        """Take a row; raises the error where the user said nothing else."""
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
