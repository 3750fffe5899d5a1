"""create_scheduler: by name."""

import pytest

from heliostat import tune
from heliostat.tune import schedulers


def test_every_scheduler_has_a_name():
    assert isinstance(tune.create_scheduler("FIFO"), schedulers.FIFOScheduler)
    assert isinstance(tune.create_scheduler("asynchyperband"), schedulers.ASHAScheduler)
    assert isinstance(tune.create_scheduler("medianstopping"), schedulers.MedianStoppingRule)
    band = tune.create_scheduler("hyperband", max_t=9)
    assert band.plan()[0] == (3, 9)


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"fifo, async_hyperband.*got 'best'"):
        tune.create_scheduler("best")
