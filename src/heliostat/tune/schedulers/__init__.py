"""Trial schedulers: who cuts a trial short, one file each. They see results and decide; no I/O."""

from heliostat.tune.schedulers._create import create_scheduler
from heliostat.tune.schedulers.async_hyperband import ASHAScheduler, AsyncHyperBandScheduler
from heliostat.tune.schedulers.hb_bohb import HyperBandForBOHB
from heliostat.tune.schedulers.hyperband import HyperBandScheduler
from heliostat.tune.schedulers.median_stopping_rule import MedianStoppingRule
from heliostat.tune.schedulers.pbt import PopulationBasedTraining, PopulationBasedTrainingReplay
from heliostat.tune.schedulers.resource_changing_scheduler import ResourceChangingScheduler
from heliostat.tune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler

__all__ = [
    "ASHAScheduler",
    "AsyncHyperBandScheduler",
    "FIFOScheduler",
    "HyperBandForBOHB",
    "HyperBandScheduler",
    "MedianStoppingRule",
    "PopulationBasedTraining",
    "PopulationBasedTrainingReplay",
    "ResourceChangingScheduler",
    "TrialScheduler",
    "create_scheduler",
]
