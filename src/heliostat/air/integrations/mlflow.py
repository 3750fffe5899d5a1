"""Ray's place for `heliostat.tune.integration.mlflow`."""

from heliostat.tune.integration.mlflow import MLflowLoggerCallback, setup_mlflow

__all__ = ["MLflowLoggerCallback", "setup_mlflow"]
