"""One after the other."""

import pytest

import heliostat as ray
from heliostat.data.preprocessor import Preprocessor, PreprocessorNotFittedException
from heliostat.data.preprocessors import Chain, Concatenator, MinMaxScaler, SimpleImputer

pytestmark = pytest.mark.usefixtures("inline")


def test_each_learns_from_what_those_before_it_made():
    ds = ray.data.from_items([{"a": 1.0}, {"a": None}, {"a": 5.0}])
    chain = Chain(SimpleImputer(["a"]), MinMaxScaler(["a"], output_columns=["b"]))
    with pytest.raises(PreprocessorNotFittedException):
        chain.transform(ds)
    assert chain.fit_status() == "NOT_FITTED"
    out = chain.fit_transform(ds).to_pandas()
    assert out["b"].tolist() == [0, 0.5, 1]
    assert chain.fit_status() == "FITTED"
    back = Preprocessor.deserialize(chain.serialize())
    assert back.transform_batch(out[["a"]])["b"].tolist() == [0, 0.5, 1]
    assert (chain.get_input_columns(), chain.get_output_columns()) == (["a"], ["a", "b"])


def test_what_never_learns_needs_no_fit():
    chain = Chain(Concatenator(["id"]))
    assert chain.fit_status() == "NOT_FITTABLE"
    assert chain.transform(ray.data.range(1)).take(1)[0]["concat_out"].tolist() == [0]


def test_what_is_no_preprocessor_is_refused_at_once():
    with pytest.raises(TypeError, match=r"Chain takes preprocessors one by one, got \[\]"):
        Chain([])
