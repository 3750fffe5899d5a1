"""A level of logging that is none is refused."""

import pytest

from heliostat.train.logging_config import LoggingConfig

ENGINE = None


@pytest.mark.parametrize("level", ["loud", 10, None])
def test_a_level_is_one_of_pythons(level):
    with pytest.raises(ValueError, match=f"one of .*WARNING.* got {level!r}"):
        LoggingConfig(level)
    assert LoggingConfig("warning").log_level == "WARNING"
