"""Lesson 1 as a student of Ray writes it down: nothing in it knows of Heliostat.

    TAXI_PARQUET=examples/data/taxi_lesson1.parquet STORAGE_PATH=/tmp/lesson1 \\
    HELIOSTAT_NUM_GPUS=4 heliostat run examples/lesson1_ray.py

Against the lesson only the two paths are taken from the environment, and what it leaves to the
student is filled in. Its four GPUs may be logical ones: XGBoost is not told to use a device.
"""

import json
import os

import pandas as pd
import requests
import xgboost
from ray.train import RunConfig, ScalingConfig
from ray.train.xgboost import XGBoostTrainer
from ray.tune import TuneConfig, Tuner
from starlette.requests import Request

import ray
from ray import serve, tune

## Read the dataset
dataset = ray.data.read_parquet(os.environ["TAXI_PARQUET"])

## Split the dataset into training and validation sets
train_dataset, valid_dataset = dataset.train_test_split(test_size=0.3)

## Define the trainer
trainer = XGBoostTrainer(
    label_column="is_big_tip",
    scaling_config=ScalingConfig(num_workers=4, use_gpu=True),
    params={"objective": "binary:logistic"},
    datasets={"train": train_dataset, "valid": valid_dataset},
    run_config=RunConfig(storage_path=os.environ["STORAGE_PATH"]),
)

## Fit the trainer
result = trainer.fit()
print(result.metrics)

## Define the tuner
tuner = Tuner(
    trainer,
    param_space={"params": {"max_depth": tune.randint(2, 12)}},
    tune_config=TuneConfig(num_samples=3, metric="valid-logloss", mode="min"),
    run_config=RunConfig(storage_path=os.environ["STORAGE_PATH"]),
)

## Fit the tuner and get the best checkpoint
checkpoint = tuner.fit().get_best_result().checkpoint


## Create an offline predictor
class OfflinePredictor:
    """Predicts batches."""

    def __init__(self):
        # Load expensive state
        self._model = xgboost.Booster()
        self._model.load_model(os.path.join(checkpoint.path, "model.ubj"))

    def __call__(self, batch):
        """Predict one batch."""
        return {"predictions": self._model.predict(xgboost.DMatrix(pd.DataFrame(batch)))}


## Apply the predictor to the validation dataset
valid_dataset_inputs = valid_dataset.drop_columns(["is_big_tip"])
predicted_probabilities = valid_dataset_inputs.map_batches(OfflinePredictor, concurrency=2)

## Materialize a batch
print(predicted_probabilities.take_batch())


## Online prediction w/ Ray Serve
@serve.deployment
class OnlinePredictor:
    """Predicts what a request brings."""

    def __init__(self, checkpoint):
        self._model = xgboost.Booster()
        self._model.load_model(os.path.join(checkpoint.path, "model.ubj"))

    async def __call__(self, request: Request) -> dict:
        """Handle HTTP request."""
        data = await request.json()
        data = json.loads(data)
        return {"prediction": self.predict(data)}

    def predict(self, data: list[dict]) -> list[float]:
        """Make prediction."""
        return self._model.predict(xgboost.DMatrix(pd.DataFrame(data))).tolist()


## Run the deployment
handle = serve.run(OnlinePredictor.bind(checkpoint=checkpoint))

## Get payload
valid_dataset_inputs = valid_dataset.drop_columns(["is_big_tip"])
sample_batch = valid_dataset_inputs.take_batch(1)
data = pd.DataFrame(sample_batch).to_json(orient="records")

## Send HTTP request
print(requests.post("http://localhost:8000/", json=data).json())
