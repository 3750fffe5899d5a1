"""Whether a trial can run in a study at all."""

import pytest

from heliostat.tune import TuneError
from heliostat.tune._resources import check_fits

ENGINE = None


def test_what_can_never_fit_is_refused_by_name_and_amount():
    with pytest.raises(TuneError, match=r"GPU: 2 asked, 1 there; custom: 1 asked, 0 there"):
        check_fits({"CPU": 1, "GPU": 2, "custom": 1}, {"CPU": 4, "GPU": 1}, "a trial")


def test_rounding_is_forgiven():
    check_fits({"CPU": 0.1 + 0.2}, {"CPU": 0.3}, "a trial")
