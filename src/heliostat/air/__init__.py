"""Names of Ray's `ray.air`: configuration classes, which are Train's, `execution` and `integrations`."""

from typing import TYPE_CHECKING, Union

from heliostat.air.execution import AcquiredResources, ResourceRequest
from heliostat.train import CheckpointConfig, FailureConfig, Result, RunConfig, ScalingConfig

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "AcquiredResources",
    "CheckpointConfig",
    "DataBatchType",
    "FailureConfig",
    "ResourceRequest",
    "Result",
    "RunConfig",
    "ScalingConfig",
]

# What a function of batches may be given. For annotations, hence names only.
DataBatchType = Union["np.ndarray", "pd.DataFrame", "pa.Table", dict[str, "np.ndarray"]]
