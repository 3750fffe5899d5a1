"""Trial schedulers: who cuts a trial short, one file each. They see results and decide; no I/O."""

from heliostat.tune.schedulers.async_hyperband import ASHAScheduler, AsyncHyperBandScheduler
from heliostat.tune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler

__all__ = ["ASHAScheduler", "AsyncHyperBandScheduler", "FIFOScheduler", "TrialScheduler"]
