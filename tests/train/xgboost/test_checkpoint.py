import numpy as np
import pytest
import xgboost

from heliostat.train.xgboost import RayTrainReportCallback, XGBoostCheckpoint


@pytest.fixture
def booster():
    data = xgboost.DMatrix(np.arange(8.0).reshape(-1, 1), np.arange(8.0))
    return xgboost.train({"nthread": 1}, data, 3)


def test_a_model_comes_back_as_it_was(booster, tmp_path):
    checkpoint = XGBoostCheckpoint.from_model(booster, path=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]
    x = xgboost.DMatrix(np.linspace(0, 8, 50).reshape(-1, 1))
    assert np.array_equal(checkpoint.get_model().predict(x), booster.predict(x))
    assert checkpoint.get_preprocessor() is None


def test_a_path_that_is_no_directory_is_refused(booster, tmp_path):
    with pytest.raises(ValueError, match="must be a directory"):
        XGBoostCheckpoint.from_model(booster, path=tmp_path / "none")


def test_the_callbacks_file_is_known_by_name():
    assert RayTrainReportCallback.CHECKPOINT_NAME == "model.ubj"
