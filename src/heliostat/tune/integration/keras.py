"""A callback for Keras in a trial: each epoch is a report. Needs Keras, on any backend."""

from heliostat.train.tensorflow.keras import ReportCheckpointCallback

__all__ = ["TuneReportCheckpointCallback"]

# A trial hears `train.report`, so what reports and saves in a rank does so in a trial.
TuneReportCheckpointCallback = ReportCheckpointCallback
