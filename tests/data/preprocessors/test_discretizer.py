"""Intervals, as pandas cuts them."""

import pandas as pd
import pytest

import heliostat as ray
from heliostat.data.preprocessors import CustomKBinsDiscretizer, UniformKBinsDiscretizer

pytestmark = pytest.mark.usefixtures("inline")
FRAME = pd.DataFrame({"a": [1.0, 2.0, 4.0, 8.0], "b": [-3.0, 0.0, 3.0, 6.0], "c": 5.0})


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("bins", [3, {"a": 2, "b": 5}])
def test_equal_intervals_are_those_of_pandas(bins, right):
    ds = ray.data.from_pandas([FRAME[:1], FRAME[1:]])
    got = UniformKBinsDiscretizer(["a", "b"], bins, right=right).fit_transform(ds).to_pandas()
    for name in "ab":
        number = bins if isinstance(bins, int) else bins[name]
        want = pd.cut(FRAME[name], number, right=right, labels=False)
        assert got[name].tolist() == want.tolist()


def test_edges_can_be_given_and_named():
    edges = CustomKBinsDiscretizer(["a", "b"], bins=[0, 2, 5, 10])
    out = edges.transform(ray.data.from_pandas(FRAME)).to_pandas()
    assert out["a"].tolist() == [0, 0, 1, 2]
    assert out["b"].isna().tolist() == [True, True, False, False]
    kind = pd.CategoricalDtype(["low", "high"], ordered=True)
    named = CustomKBinsDiscretizer(["a"], bins={"a": [0, 2, 10]}, dtypes={"a": kind})
    assert named.transform_batch(FRAME)["a"].tolist() == ["low", "low", "high", "high"]


def test_a_column_of_one_value_is_cut_too_and_nonsense_refused():
    ds = ray.data.from_pandas(FRAME)
    out = UniformKBinsDiscretizer(["c"], bins=2).fit_transform(ds).to_pandas()["c"]
    assert out.tolist() == pd.cut(FRAME["c"], 2, labels=False).tolist()
    with pytest.raises(ValueError, match=r"\['b'\]"):
        CustomKBinsDiscretizer(["a", "b"], bins={"a": [0, 1]})
    with pytest.raises(ValueError, match="bins must be an int >= 1"):
        UniformKBinsDiscretizer(["a"], bins=0).fit(ds)
    endless = ray.data.from_pandas(pd.DataFrame({"a": [1.0, float("inf")]}))
    with pytest.raises(ValueError, match=r"column 'a' goes from 1\.0 to inf"):
        UniformKBinsDiscretizer(["a"], bins=2).fit(endless)
