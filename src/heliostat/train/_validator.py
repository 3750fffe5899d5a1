"""Validator: carries out validations, each as a task. It chooses nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import heliostat
from heliostat.exceptions import RayTaskError
from heliostat.train._run_messages import Validated
from heliostat.train.checkpoint import Checkpoint
from heliostat.train.validation_config import ValidationConfig, ValidationFn


class Validator:
    """Runs one validation at a time.

    Args:
        config: The function, and the options of its task.
        checkpoint: The checkpoint of a name.
    """

    def __init__(self, config: ValidationConfig, checkpoint: Callable[[str], Checkpoint]) -> None:
        self._config = config
        self._checkpoint = checkpoint
        self._name = ""
        self.refs: list[Any] = []  # of the running one; none if none is

    def start(self, name: str, fn_kwargs: Mapping[str, Any]) -> Validated | None:
        """Begin. What cannot begin is over at once, with its error."""
        self._name = name
        try:
            task = heliostat.remote(_validate).options(**self._config.ray_remote_kwargs)
            fn = self._config.fn
            self.refs = [task.remote(fn, self._checkpoint(name), dict(fn_kwargs))]
        # Options of the user's, and a function that may not travel.
        except Exception as error:  # noqa: BLE001
            return Validated(name, {}, error)
        return None

    def cancel(self) -> None:
        """Stop it, whatever it is doing."""
        for ref in self.refs:
            heliostat.cancel(ref, force=True)
        self.refs = []

    def news(self) -> Validated | None:
        """How it ended, if it has."""
        if not self.refs or not heliostat.wait(self.refs, timeout=0)[0]:
            return None
        (ref,), self.refs = self.refs, []
        try:
            return Validated(self._name, heliostat.get(ref))
        # The function is the user's: what it raises is told, and its process may die.
        except Exception as error:  # noqa: BLE001
            cause = error.cause if isinstance(error, RayTaskError) else error
            return Validated(self._name, {}, cause if isinstance(cause, Exception) else error)


def _validate(
    function: ValidationFn, checkpoint: Checkpoint, fn_kwargs: dict[str, Any]
) -> dict[str, Any]:
    metrics = function(checkpoint, **fn_kwargs)
    if not isinstance(metrics, dict):
        raise TypeError(
            f"ValidationConfig(fn=...) must return a dict of metrics, got {type(metrics).__name__}"
        )
    return metrics
