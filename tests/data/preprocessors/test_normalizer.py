"""Norms, as scikit-learn has them."""

import numpy as np
import pytest

import heliostat as ray
from heliostat.data.preprocessors import Normalizer

pytestmark = pytest.mark.usefixtures("inline")


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_values_are_those_of_scikit_learn(norm):
    theirs = pytest.importorskip("sklearn.preprocessing")
    values = np.array([[1.0, -3.0], [0.0, 0.0], [4.0, 3.0]])
    ds = ray.data.from_items([{"a": a, "b": b} for a, b in values])
    got = Normalizer(["a", "b"], norm=norm).transform(ds).to_pandas().to_numpy()
    if norm == "max":  # theirs divides by the largest value; Ray's by the largest absolute one
        want = values / np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-300)
    else:
        want = theirs.normalize(values, norm)
    np.testing.assert_allclose(got, want)


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="'zz'"):
        Normalizer(["a"], norm="zz")


def test_a_missing_value_counts_as_none():
    ds = ray.data.from_items([{"a": 3.0, "b": -4.0}, {"a": None, "b": -2.0}])
    for norm, row in (("l1", [3 / 7, -4 / 7]), ("l2", [0.6, -0.8]), ("max", [0.75, -1.0])):
        rows = Normalizer(["a", "b"], norm=norm).transform(ds).take_all()
        assert list(rows[0].values()) == pytest.approx(row)
        assert rows[1] == {"a": None, "b": -1.0}
