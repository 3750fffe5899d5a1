"""Power transforms, as SciPy has them."""

import numpy as np
import pytest

import heliostat as ray
from heliostat.data.preprocessors import PowerTransformer

pytestmark = pytest.mark.usefixtures("inline")


@pytest.mark.parametrize("power", [-1, 0, 0.5, 1, 2, 3.5])
def test_values_are_those_of_scipy(power):
    stats = pytest.importorskip("scipy.stats")
    values = np.array([-5.0, -0.5, 0.0, 0.5, 7.0])
    ds = ray.data.from_items([{"a": value} for value in values])
    got = PowerTransformer(["a"], power=power).transform(ds).to_pandas()["a"]
    np.testing.assert_allclose(got, stats.yeojohnson(values, power))
    positive = ray.data.from_items([{"a": value} for value in (0.5, 7.0)])
    got = PowerTransformer(["a"], power=power, method="box-cox").transform(positive).to_pandas()
    np.testing.assert_allclose(got["a"], stats.boxcox(np.array([0.5, 7.0]), power))


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="'zz'"):
        PowerTransformer(["a"], power=1, method="zz")
