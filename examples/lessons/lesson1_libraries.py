"""Lesson 1: the five libraries in one walk, from a file to an answer over HTTP.

    python examples/lessons/lesson1_libraries.py

Will a passenger tip more than a fifth of the fare? The same lesson as a program with its results
checked is `examples/taxi.py`; as a student writes it for Ray, `examples/lesson1_ray.py`.
"""

# %% [markdown]
# # Lesson 1: the libraries
#
# Data reads, Train trains, Tune tunes, Data predicts in batches, Serve predicts over HTTP; all of
# them run on Core. Will a passenger tip more than a fifth of the fare?

# %%
import json
import os
import tempfile
from pathlib import Path

import pandas as pd
import requests
import xgboost
from starlette.requests import Request

import heliostat as ray
from heliostat import serve, tune
from heliostat.train import RunConfig, ScalingConfig
from heliostat.train.xgboost import XGBoostTrainer
from heliostat.tune import TuneConfig, Tuner

ray.init(num_cpus=4, ignore_reinit_error=True)
STORAGE = os.environ.get("STORAGE") or tempfile.mkdtemp()
PORT = int(os.environ.get("PORT", "8000"))

# %% [markdown]
# ## Data
#
# Nothing is read before somebody wants rows.

# %%
trips = Path(__file__).resolve().parent.parent / "data" / "taxi_lesson1.parquet"
dataset = ray.data.read_parquet(str(trips)).limit(int(os.environ.get("ROWS", "50000")))
train_dataset, valid_dataset = dataset.train_test_split(test_size=0.3)
print(dataset.schema())

# %% [markdown]
# ## Train
#
# Two workers, each with half of the rows.

# %%
trainer = XGBoostTrainer(
    label_column="is_big_tip",
    scaling_config=ScalingConfig(num_workers=2),
    params={"objective": "binary:logistic"},
    datasets={"train": train_dataset, "valid": valid_dataset},
    run_config=RunConfig(storage_path=STORAGE),
)
result = trainer.fit()
print(sorted(result.metrics))

# %% [markdown]
# ## Tune
#
# The trainer is what is tried, with three depths.

# %%
tuner = Tuner(
    trainer,
    param_space={"params": {"max_depth": tune.randint(2, 12)}},
    tune_config=TuneConfig(num_samples=3, metric="valid-logloss", mode="min"),
    run_config=RunConfig(storage_path=STORAGE),
)
results = tuner.fit()
checkpoint = results.get_best_result().checkpoint

# %% [markdown]
# ## Offline predictions
#
# A class is loaded once in each of its processes.


# %%
class OfflinePredictor:
    """Predicts batches."""

    def __init__(self):
        self._model = xgboost.Booster()
        self._model.load_model(os.path.join(checkpoint.path, "model.ubj"))

    def __call__(self, batch):
        """Predict one batch."""
        return {"predictions": self._model.predict(xgboost.DMatrix(pd.DataFrame(batch)))}


inputs = valid_dataset.drop_columns(["is_big_tip"])
offline = inputs.map_batches(OfflinePredictor, concurrency=2).take_batch(3)
print("offline:", [round(float(one), 4) for one in offline["predictions"]])

# %% [markdown]
# ## Online predictions


# %%
@serve.deployment
class OnlinePredictor:
    """Predicts what a request brings."""

    def __init__(self, checkpoint):
        self._model = xgboost.Booster()
        self._model.load_model(os.path.join(checkpoint.path, "model.ubj"))

    async def __call__(self, request: Request) -> dict:
        """Answer one request."""
        data = json.loads(await request.json())
        return {"prediction": self.predict(data)}

    def predict(self, data: list[dict]) -> list[float]:
        """Predict a few rows."""
        return self._model.predict(xgboost.DMatrix(pd.DataFrame(data))).tolist()


serve.start(http_options={"port": PORT})
handle = serve.run(OnlinePredictor.bind(checkpoint=checkpoint))
data = pd.DataFrame(inputs.take_batch(3)).to_json(orient="records")
answer = requests.post(f"http://127.0.0.1:{PORT}/", json=data, timeout=60).json()
print("online: ", [round(one, 4) for one in answer["prediction"]])

# %%
serve.shutdown()
ray.shutdown()
