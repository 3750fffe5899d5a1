"""Readers of tables as users call them."""

import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="'zz'"):
        ray.data.read_sql("SELECT 1", lambda: None, zz=1)
