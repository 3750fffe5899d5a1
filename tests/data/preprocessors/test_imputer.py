"""Missing values are filled as Ray fills them."""

import pandas as pd
import pytest

import heliostat as ray
from heliostat.data.preprocessors import SimpleImputer

pytestmark = pytest.mark.usefixtures("inline")
FRAME = pd.DataFrame({"n": [1.0, None, 3.0, 3.0], "s": ["x", "y", None, "y"]})


def test_strategies():
    ds = ray.data.from_pandas(FRAME)
    mean = SimpleImputer(["n"]).fit_transform(ds).to_pandas()["n"]
    assert mean.tolist() == [1.0, 7 / 3, 3.0, 3.0]
    most = SimpleImputer(["n", "s"], strategy="most_frequent").fit(ds)
    assert most.stats_ == {"most_frequent(n)": 3.0, "most_frequent(s)": "y"}
    assert most.transform(ds).to_pandas()["s"].tolist() == ["x", "y", "y", "y"]
    constant = SimpleImputer(["n"], strategy="constant", fill_value=9)
    assert constant.fit_status() == "NOT_FITTABLE"
    assert constant.transform(ds).to_pandas()["n"].tolist() == [1.0, 9.0, 3.0, 3.0]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="'zz'"):
        SimpleImputer(["n"], strategy="zz")
    with pytest.raises(ValueError, match="fill_value"):
        SimpleImputer(["n"], strategy="constant")
    empty = ray.data.from_items([{"n": None}])
    with pytest.raises(ValueError, match="cannot fill column 'n'"):
        SimpleImputer(["n"]).fit_transform(empty).take_all()


def test_a_column_that_is_not_there_is_missing_in_all_rows():
    ds = ray.data.from_items([{"n": 1.0, "s": "x"}, {"n": 3.0, "s": "x"}])
    mean = SimpleImputer(["n"]).fit(ds)
    assert mean.transform_batch(pd.DataFrame({"s": ["y", "z"]})).to_dict("list") == {
        "s": ["y", "z"],
        "n": [2.0, 2.0],
    }
    constant = SimpleImputer(["t"], strategy="constant", fill_value="?", output_columns=["u"])
    assert constant.transform(ds).take(1) == [{"n": 1.0, "s": "x", "u": "?"}]
