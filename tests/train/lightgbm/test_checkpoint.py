import lightgbm
import numpy as np
import pytest

import heliostat
from heliostat.data.preprocessors import StandardScaler
from heliostat.train.lightgbm import LightGBMCheckpoint


@pytest.fixture
def booster():
    rows = lightgbm.Dataset(np.arange(80.0).reshape(-1, 1), np.arange(80.0))
    return lightgbm.train({"verbosity": -1, "num_threads": 1}, rows, 3)


def test_a_model_comes_back_as_it_was(booster, tmp_path):
    checkpoint = LightGBMCheckpoint.from_model(booster, path=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.txt"]
    x = np.linspace(0, 80, 50).reshape(-1, 1)
    assert np.array_equal(checkpoint.get_model().predict(x), booster.predict(x))
    assert checkpoint.get_preprocessor() is None


def test_a_preprocessor_travels_with_the_model(booster, tmp_path):
    heliostat.init(engine="inline")
    try:
        scaler = StandardScaler(["x"]).fit(heliostat.data.from_items([{"x": 1.0}, {"x": 3.0}]))
        LightGBMCheckpoint.from_model(booster, preprocessor=scaler, path=tmp_path)
        again = LightGBMCheckpoint(tmp_path).get_preprocessor()
        assert again.transform(heliostat.data.from_items([{"x": 3.0}])).take_all() == [{"x": 1.0}]
    finally:
        heliostat.shutdown()


def test_a_path_that_is_no_directory_is_refused(booster, tmp_path):
    with pytest.raises(ValueError, match="must be a directory"):
        LightGBMCheckpoint.from_model(booster, path=tmp_path / "none")
