"""What all preprocessors have in common."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import heliostat as ray
from heliostat.data.preprocessor import Preprocessor, PreprocessorNotFittedException
from heliostat.data.preprocessors import Normalizer, StandardScaler

pytestmark = pytest.mark.usefixtures("inline")


def fitted():
    return StandardScaler(["a"]).fit(ray.data.from_items([{"a": 1.0}, {"a": 3.0}]))


def test_it_has_to_be_fitted_first():
    scaler = StandardScaler(["a"])
    assert (scaler.fit_status(), scaler.has_stats()) == ("NOT_FITTED", False)
    for use in (scaler.transform, scaler.transform_batch):
        with pytest.raises(PreprocessorNotFittedException, match="StandardScaler must be fitted"):
            use(ray.data.range(1))
    assert (fitted().fit_status(), fitted().has_stats()) == ("FITTED", True)
    assert Normalizer(["a"]).fit_status() == "NOT_FITTABLE"


def test_a_batch_stays_what_it_is_and_is_not_written_to():
    scaler = fitted()
    frame = pd.DataFrame({"a": [2.0, 4.0]}, index=[7, 8])
    out = scaler.transform_batch(frame)
    assert (out["a"].tolist(), out.index.tolist(), frame["a"].tolist()) == ([0, 2], [7, 8], [2, 4])
    assert scaler.transform_batch({"a": np.array([2.0])})["a"].tolist() == [0.0]
    table = scaler.transform_batch(pa.table({"a": [2.0], "b": ["x"]}))
    assert table.to_pylist() == [{"a": 0.0, "b": "x"}]
    with pytest.raises(KeyError, match=r"no column named 'a'; the columns are \['b'\]"):
        scaler.transform_batch({"b": np.array([1])})


def test_it_goes_through_text():
    text = fitted().serialize()
    back = Preprocessor.deserialize(text)
    assert back.stats_ == {"mean(a)": 2.0, "std(a)": 1.0}
    assert back.transform_batch({"a": np.array([2.0])})["a"].tolist() == [0.0]
    for wrong in ("no base64!", "aGVsbG8="):
        with pytest.raises(ValueError, match="not what Preprocessor"):
            Preprocessor.deserialize(wrong)


def test_it_is_shown_with_its_arguments():
    assert repr(StandardScaler(["a"])) == "StandardScaler(columns=['a'], output_columns=['a'])"
    with pytest.raises(ValueError, match="2 output_columns for 1 columns"):
        StandardScaler(["a"], output_columns=["x", "y"])


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(KeyError, match=r"StandardScaler: no column named 'zz'"):
        StandardScaler(["zz"]).fit(ray.data.range(3))


def test_a_dataset_is_transformed_in_workers_too(monkeypatch):
    ray.shutdown()
    monkeypatch.setenv("HELIOSTAT_PROGRESS", "0")
    ray.init(num_cpus=2)
    ds = ray.data.range(1000)
    out = StandardScaler(["id"]).fit_transform(ds, transform_batch_size=100).to_pandas()["id"]
    assert abs(out.mean()) < 1e-12
    assert abs(out.std(ddof=0) - 1) < 1e-12
