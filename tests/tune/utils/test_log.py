"""Ray's place of `Verbosity`."""

from heliostat.tune import progress_reporter
from heliostat.tune.utils import log


def test_verbosity_is_where_ray_has_it():
    assert log.Verbosity is progress_reporter.Verbosity
    assert [one.value for one in log.Verbosity] == [0, 1, 2, 3]
