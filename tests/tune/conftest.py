"""A session on the inline engine, and studies that write below the test's own folder."""

import pytest

import heliostat
from heliostat import tune


@pytest.fixture(scope="module", autouse=True)
def session(request):
    """Modules that set `ENGINE` get that engine; those that set it to None start none."""
    engine = getattr(request.module, "ENGINE", "inline")
    if engine is None:
        yield
        return
    heliostat.init(engine=engine, num_cpus=2)
    yield
    heliostat.shutdown()


@pytest.fixture
def run_study(tmp_path):
    """Run a Tuner quietly below tmp_path."""

    def run(trainable, param_space=None, run=None, **config):
        run_config = tune.RunConfig(**{"storage_path": str(tmp_path), "verbose": 0, **(run or {})})
        return tune.Tuner(
            trainable,
            param_space=param_space,
            tune_config=tune.TuneConfig(**config),
            run_config=run_config,
        ).fit()

    return run
