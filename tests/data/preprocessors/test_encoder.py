"""Encoders give what Ray's give."""

import numpy as np
import pandas as pd
import pytest

import heliostat as ray
from heliostat.data.preprocessors import (
    Categorizer,
    LabelEncoder,
    MultiHotEncoder,
    OneHotEncoder,
    OrdinalEncoder,
)

pytestmark = pytest.mark.usefixtures("inline")

FRAME = pd.DataFrame(
    {
        "s": ["x", "y", "x", "z"],
        "l": [["p", "q"], ["q"], ["p", "q", "r"], ["r", "r"]],
        "i": [3, 1, 2, 3],
        "n": [1.0, None, 3.0, 3.0],
    }
)


def encoded(encoder, column):
    ds = ray.data.from_pandas(FRAME)
    return [
        value.tolist() if isinstance(value, np.ndarray) else value
        for value in encoder.fit_transform(ds).to_pandas()[column]
    ]


# All of these are what Ray 2.60 gives.
@pytest.mark.parametrize(
    ("encoder", "column", "values"),
    [
        (OrdinalEncoder(["s"]), "s", [0, 1, 0, 2]),
        (OrdinalEncoder(["l"]), "l", [[0, 1], [1], [0, 1, 2], [2, 2]]),
        (OrdinalEncoder(["l"], encode_lists=False), "l", [0, 2, 1, 3]),
        (OneHotEncoder(["s"]), "s", [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]),
        (OneHotEncoder(["s"], max_categories={"s": 2}), "s", [[1, 0], [0, 1], [1, 0], [0, 0]]),
        (MultiHotEncoder(["l"]), "l", [[1, 1, 0], [0, 1, 0], [1, 1, 1], [0, 0, 2]]),
        (LabelEncoder("s"), "s", [0, 1, 0, 2]),
        (LabelEncoder("i", output_column="o"), "o", [2, 0, 1, 2]),
    ],
)
def test_values_are_rays(encoder, column, values):
    assert encoded(encoder, column) == values


def test_statistics_have_rays_names():
    ds = ray.data.from_pandas(FRAME)
    want = {"unique_values(s)": {"x": 0, "y": 1, "z": 2}}
    for encoder in (OneHotEncoder(["s"]), OrdinalEncoder(["s"]), LabelEncoder("s")):
        assert encoder.fit(ds).stats_ == want


def test_unknown_values_are_zeros_or_missing():
    ds = ray.data.from_pandas(FRAME)
    new = pd.DataFrame({"s": ["x", "new"]})
    hot = OneHotEncoder(["s"]).fit(ds).transform_batch(new)["s"]
    assert [one.tolist() for one in hot] == [[1, 0, 0], [0, 0, 0]]
    places = OrdinalEncoder(["s"]).fit(ds).transform_batch(new)["s"]
    assert places[0] == 0
    assert np.isnan(places[1])


def test_labels_come_back():
    encoder = LabelEncoder("s")
    ds = encoder.fit_transform(ray.data.from_pandas(FRAME))
    assert encoder.inverse_transform(ds).to_pandas()["s"].tolist() == FRAME["s"].tolist()


def test_categories_are_learnt_or_given():
    ds = ray.data.from_pandas(FRAME)
    learnt = Categorizer(["s"]).fit_transform(ds).to_pandas()["s"]
    assert learnt.dtype.categories.tolist() == ["x", "y", "z"]
    kind = pd.CategoricalDtype(["z", "y", "x"], ordered=True)
    given = Categorizer(["s"], dtypes={"s": kind}).fit(ds).transform_batch(FRAME)
    assert given["s"].tolist() == FRAME["s"].tolist()


def test_missing_values_have_to_be_filled_first():
    ds = ray.data.from_pandas(FRAME)
    for encoder in (OrdinalEncoder(["n"]), OneHotEncoder(["n"]), LabelEncoder("n")):
        with pytest.raises(ValueError, match="column 'n': it has missing values"):
            encoder.fit(ds)
    with pytest.raises(ValueError, match=r"columns \['s'\]: they have missing values"):
        OrdinalEncoder(["s"]).fit(ds).transform_batch(pd.DataFrame({"s": ["x", None]}))


@pytest.mark.parametrize("options", [{}, {"max_categories": {"a": 1}}])
def test_one_category_alone_is_a_vector_too(options):
    values = ["x", "x"] if not options else ["x", "x", "y"]
    ds = ray.data.from_pandas(pd.DataFrame({"a": values}))
    rows = OneHotEncoder(["a"], **options).fit_transform(ds).take_all()
    assert [row["a"].tolist() for row in rows] == [[1], [1], [0]][: len(values)]
