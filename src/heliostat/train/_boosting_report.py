"""BoostingReport: what callbacks of boosting libraries share: what of a round is reported, and how.

It knows no library, and not when a round is over.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import heliostat.train as train
from heliostat.train._boosting import chosen
from heliostat.train._framework_checkpoint import Saves


class BoostingReport:
    """Reports rounds, and saves models on rank 0.

    Args:
        metrics: Which to report: one name, several, or a dict of new names to the library's; all
            if None.
        filename: The model's file in the checkpoint.
        frequency: Save every so many rounds; 0 for never.
        results_postprocessing_fn: Turns the metrics of a round into those to report.

    Raises:
        ValueError: If `frequency` is negative.
    """

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None,
        filename: str,
        frequency: int,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None,
    ) -> None:
        if frequency < 0:
            raise ValueError(f"frequency must be >= 0, got {frequency}; 0 for never")
        self._names = [metrics] if isinstance(metrics, str) else metrics
        self._filename = filename
        self._frequency = frequency
        self._postprocess = results_postprocessing_fn
        self.last: int | None = None  # after so many rounds the model is saved in any case

    def due(self, rounds: int) -> bool:
        """Whether a model of so many rounds, those it began with included, is to be saved."""
        return rounds == self.last or (self._frequency > 0 and rounds % self._frequency == 0)

    def wanted(self, found: dict[str, Any], nothing: str) -> dict[str, Any]:
        """Of a round's metrics those to report; `nothing` says why there may be none."""
        found = chosen(self._names, found, nothing)
        return found if self._postprocess is None else self._postprocess(found)

    def report(self, metrics: dict[str, Any], model: Saves | None) -> None:
        """Report a round, with the model on rank 0 if it is to be saved."""
        if model is None or train.get_context().get_world_rank() != 0:
            train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as directory:
            model.save_model(os.path.join(directory, self._filename))
            train.report(metrics, checkpoint=train.Checkpoint(directory))


@contextmanager
def model_file(checkpoint: train.Checkpoint, filename: str) -> Iterator[str]:
    """The path of a checkpoint's model, while it is there.

    Raises:
        FileNotFoundError: If the checkpoint holds no such file.
    """
    with checkpoint.as_directory() as directory:
        path = os.path.join(directory, filename)
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"{checkpoint} holds no {filename}; it holds: "
                f"{', '.join(sorted(os.listdir(directory))) or 'nothing'}"
            )
        yield path
