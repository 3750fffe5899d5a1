"""Names of Ray's `ray.air`: configuration classes, which are Train's, and `integrations`."""

from heliostat.train import CheckpointConfig, FailureConfig, Result, RunConfig, ScalingConfig

__all__ = ["CheckpointConfig", "FailureConfig", "Result", "RunConfig", "ScalingConfig"]
