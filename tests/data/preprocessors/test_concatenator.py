"""Columns become vectors."""

import numpy as np
import pytest

import heliostat as ray
from heliostat.data.preprocessors import Concatenator

pytestmark = pytest.mark.usefixtures("inline")


def test_columns_are_put_together_in_their_order():
    ds = ray.data.from_items([{"a": 1, "b": 2.5, "c": 3}, {"a": 4, "b": 5.5, "c": 6}])
    rows = Concatenator(["b", "a"], "f", np.float32).transform(ds).take_all()
    assert [(row["c"], row["f"].tolist()) for row in rows] == [(3, [2.5, 1]), (6, [5.5, 4])]
    assert rows[0]["f"].dtype == np.float32
    with pytest.raises(KeyError, match="'zz'"):
        Concatenator(["a", "zz"]).transform(ds).take_all()


def test_vectors_are_flattened_only_if_asked_for():
    ds = ray.data.from_items([{"a": 1, "v": np.ones(2)}])
    flat = Concatenator(["a", "v"], flatten=True).transform(ds).take(1)[0]["concat_out"]
    assert flat.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="flatten=True"):
        Concatenator(["a", "v"]).transform(ds).take_all()


def test_null_in_other_columns_stays_null():
    ds = ray.data.from_items([{"a": 1, "n": 1, "s": "x"}, {"a": 2, "n": None, "s": None}])
    made = Concatenator(["a"]).transform(ds)
    assert made.columns() == ["n", "s", "concat_out"]
    assert [(row["n"], row["s"]) for row in made.take_all()] == [(1, "x"), (None, None)]
    named_as_one = Concatenator(["a"], "n").transform(ds).take_all()
    assert [(row["s"], row["n"].tolist()) for row in named_as_one] == [("x", [1]), (None, [2])]
