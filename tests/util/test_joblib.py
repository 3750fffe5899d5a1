"""joblib, and scikit-learn through it, run on actors."""

import os

import pytest

joblib = pytest.importorskip("joblib")

from heliostat.util.joblib import register_ray  # noqa: E402 - after the check for joblib

pytestmark = pytest.mark.usefixtures("local")


def square(x):
    if x < 0:
        raise ValueError(f"{x} is negative")
    return x * x, os.getpid()


@pytest.fixture(autouse=True)
def backend():
    register_ray()
    with joblib.parallel_config(backend="ray", n_jobs=2):
        yield


def test_work_is_done_in_other_processes_and_in_order():
    results = joblib.Parallel()(joblib.delayed(square)(n) for n in range(50))
    assert [value for value, _ in results] == [n * n for n in range(50)]
    assert os.getpid() not in {pid for _, pid in results}


def test_an_error_reaches_the_caller():
    with pytest.raises(ValueError, match="-1 is negative"):
        joblib.Parallel()(joblib.delayed(square)(n) for n in [1, -1])


def test_scikit_learn_searches_on_actors():
    selection = pytest.importorskip("sklearn.model_selection")
    from sklearn.linear_model import Ridge

    features = [[float(n), float(n % 3)] for n in range(30)]
    labels = [2 * a + b for a, b in features]
    search = selection.GridSearchCV(Ridge(), {"alpha": [1e-6, 100.0]}, cv=3)
    search.fit(features, labels)
    assert search.best_params_ == {"alpha": 1e-6}
