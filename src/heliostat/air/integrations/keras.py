"""Ray's older place for `heliostat.train.tensorflow.keras`."""

from heliostat.train.tensorflow.keras import ReportCheckpointCallback

__all__ = ["ReportCheckpointCallback"]
