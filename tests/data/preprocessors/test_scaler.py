"""Scalers give what scikit-learn's and Ray's give."""

import numpy as np
import pandas as pd
import pytest

import heliostat as ray
from heliostat.data.preprocessors import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

pytestmark = pytest.mark.usefixtures("inline")
SCALERS = (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(5, 3, 200), "b": rng.integers(-9, 9, 200), "c": 4.0})
    frame.loc[rng.choice(200, 20), "a"] = np.nan
    return frame


@pytest.mark.parametrize("scaler", SCALERS)
def test_values_are_those_of_scikit_learn(scaler, frame):
    theirs = pytest.importorskip("sklearn.preprocessing")
    want = getattr(theirs, scaler.__name__)().fit_transform(frame)
    ds = ray.data.from_pandas([frame[:70], frame[70:]])
    got = scaler(list("abc")).fit_transform(ds).to_pandas()
    np.testing.assert_allclose(got.to_numpy(), want, rtol=1e-12, atol=1e-12)


def test_statistics_have_rays_names(frame):
    ds = ray.data.from_items([{"a": 1.0}, {"a": 2.0}, {"a": 4.0}, {"a": 8.0}])
    stats = {}
    for scaler in SCALERS:
        stats |= scaler(["a"]).fit(ds).stats_
    assert stats == {
        "mean(a)": 3.75,
        "std(a)": 2.680951323690902,
        "min(a)": 1.0,
        "max(a)": 8.0,
        "abs_max(a)": 8.0,
        "low_quantile(a)": 1.75,
        "median(a)": 3.0,
        "high_quantile(a)": 5.0,
    }


def test_new_columns_leave_the_old_ones(frame):
    ds = ray.data.from_pandas(frame)
    out = MinMaxScaler(["b"], output_columns=["b2"]).fit_transform(ds).to_pandas()
    assert out["b"].tolist() == frame["b"].tolist()
    assert (out["b2"].min(), out["b2"].max()) == (0, 1)


def test_what_cannot_be_scaled_is_named():
    with pytest.raises(ValueError, match="MinMaxScaler needs numbers, but column 's' is string"):
        MinMaxScaler(["s"]).fit(ray.data.from_items([{"s": "x"}]))
    with pytest.raises(ValueError, match="quantile_range"):
        RobustScaler(["a"], quantile_range=(0.9, 0.1))
    none = ray.data.from_items([{"a": None}, {"a": None}])
    assert StandardScaler(["a"]).fit_transform(none).to_pandas()["a"].isna().all()
