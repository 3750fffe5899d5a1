"""Programs that run on their own and are looked after; Ray's `ray.job_submission`."""

from heliostat.job_submission._records import (
    DriverInfo,
    JobDetails,
    JobErrorType,
    JobInfo,
    JobStatus,
    JobType,
)
from heliostat.job_submission.client import JobSubmissionClient

__all__ = [
    "DriverInfo",
    "JobDetails",
    "JobErrorType",
    "JobInfo",
    "JobStatus",
    "JobSubmissionClient",
    "JobType",
]
