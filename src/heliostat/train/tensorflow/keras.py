"""ReportCheckpointCallback: reports what Keras logs, and saves the model. Needs Keras, on any backend."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import heliostat.train as train
from heliostat.train.tensorflow._checkpoint import TensorflowCheckpoint

try:
    from keras.callbacks import Callback
except ImportError as error:
    raise ImportError(
        "heliostat.train.tensorflow.keras needs Keras: pip install tensorflow, or keras"
    ) from error

__all__ = ["ReportCheckpointCallback"]

EVENTS = frozenset(
    f"{what}_{end}"
    for what in ("epoch", "train", "test", "predict", "train_batch", "test_batch", "predict_batch")
    for end in ("begin", "end")
)


class ReportCheckpointCallback(Callback):  # type: ignore[misc]  # Keras may not be there
    """Reports what Keras logs to the trainer, or to the trial, that it runs in.

    Args:
        checkpoint_on: At which of Keras's events to save the model, such as "epoch_end", or
            several; what is reported then goes with it. An empty list for never.
        report_metrics_on: At which events to report.
        metrics: Which of Keras's logs to report: one name, several, or a dict of new names to
            Keras's; all if None.

    Raises:
        ValueError: For an event that Keras does not have.

    Example:
        >>> # model.fit(x, y, callbacks=[ReportCheckpointCallback(metrics=["loss"])])
    """

    def __init__(
        self,
        checkpoint_on: str | list[str] = "epoch_end",
        report_metrics_on: str | list[str] = "epoch_end",
        metrics: str | list[str] | dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._saves = _events("checkpoint_on", checkpoint_on)
        self._names = [metrics] if isinstance(metrics, str) else metrics
        # On those only that are asked for: Keras works faster when nobody listens to each batch.
        for event in _events("report_metrics_on", report_metrics_on) | self._saves:
            setattr(self, f"on_{event}", functools.partial(self._at, event))

    def _at(self, event: str, *said: Any, logs: Mapping[str, Any] | None = None) -> None:
        # Keras says the number of an epoch or a batch first, if it is about one.
        metrics = self._wanted(event, next((s for s in said if isinstance(s, Mapping)), logs or {}))
        if event not in self._saves:
            train.report(metrics)
            return
        checkpoint = TensorflowCheckpoint.from_model(self.model)
        try:
            train.report(metrics, checkpoint=checkpoint)
        finally:
            shutil.rmtree(checkpoint.path, ignore_errors=True)

    def _wanted(self, event: str, logs: Mapping[str, Any]) -> dict[str, Any]:
        if self._names is None:
            return dict(logs)
        names = self._names
        renamed = names if isinstance(names, Mapping) else {name: name for name in names}
        for name in renamed.values():
            if name not in logs:
                raise KeyError(
                    f"ReportCheckpointCallback(metrics=...): no metric {name!r} at {event}; there "
                    f"are: {', '.join(logs) or 'none'}"
                )
        return {new: logs[name] for new, name in renamed.items()}


def _events(argument: str, asked: str | Sequence[str]) -> frozenset[str]:
    events = frozenset([asked] if isinstance(asked, str) else asked)
    if unknown := sorted(events - EVENTS):
        raise ValueError(
            f"ReportCheckpointCallback({argument}={asked!r}): Keras has no event {unknown[0]!r}; "
            f"it has: {', '.join(sorted(EVENTS))}"
        )
    return events
