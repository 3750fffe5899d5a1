"""The taxi lesson: read, split, train, tune, predict in batches, predict over HTTP.

Will a passenger tip more than a fifth of the fare? Real trips, of which `data/README.md` tells
the source. Run it with `heliostat demo`, or from a checkout with `python examples/taxi.py`. What it
trains is removed at the end, unless STORAGE_PATH in the environment names a folder that keeps it.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import requests
import xgboost
from starlette.requests import Request

import heliostat as ray
from heliostat import serve, tune
from heliostat.train import Checkpoint, RunConfig, ScalingConfig
from heliostat.train.xgboost import XGBoostTrainer
from heliostat.tune import TuneConfig, Tuner

TRIPS = Path(__file__).resolve().parent / "data" / "taxi_lesson1.parquet"
LABEL = "is_big_tip"


def load_model(checkpoint: Checkpoint) -> xgboost.Booster:
    """The booster that a checkpoint holds."""
    model = xgboost.Booster({"nthread": 1})
    with checkpoint.as_directory() as directory:
        model.load_model(Path(directory, "model.ubj"))
    return model


class OfflinePredictor:
    """Predicts batches of a dataset. Each of its processes loads the model once."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.model = load_model(checkpoint)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predict one batch."""
        inputs = xgboost.DMatrix(pd.DataFrame(batch))
        return {"probability": self.model.predict(inputs)}


@serve.deployment
class OnlinePredictor:
    """Predicts the trips that an HTTP request brings."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.model = load_model(checkpoint)

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        """Answer one request."""
        # The client sends a JSON string that holds JSON: see `ask` below.
        data = json.loads(await request.json())
        return {"probability": self.predict(data)}

    def predict(self, data: list[dict[str, float]]) -> list[float]:
        """Predict a list of trips."""
        inputs = xgboost.DMatrix(pd.DataFrame(data))
        return [float(probability) for probability in self.model.predict(inputs)]


def learn(storage: str) -> None:
    """The lesson, from the file to the HTTP answer."""
    # Read the dataset, and split it into training and validation sets.
    dataset = ray.data.read_parquet(str(TRIPS))
    train_dataset, valid_dataset = dataset.train_test_split(test_size=0.3)

    # Define the trainer, and fit it.
    trainer = XGBoostTrainer(
        label_column=LABEL,
        scaling_config=ScalingConfig(num_workers=2),
        params={"objective": "binary:logistic"},
        datasets={"train": train_dataset, "valid": valid_dataset},
        run_config=RunConfig(storage_path=storage),
    )
    result = trainer.fit()
    print(f"\nTrained at the default depth: valid-logloss {result.metrics['valid-logloss']:.5f}")

    # Define the tuner, fit it (which prints a table of the trials), and get the best checkpoint.
    tuner = Tuner(
        trainer,
        param_space={"params": {"max_depth": tune.randint(2, 12)}},
        tune_config=TuneConfig(num_samples=3, metric="valid-logloss", mode="min"),
        run_config=RunConfig(storage_path=storage),
    )
    best = tuner.fit().get_best_result()
    print("Best depth:", best.config["params"]["max_depth"])
    checkpoint = best.checkpoint

    # Predict the validation set offline, in batches, by two processes.
    valid_dataset_inputs = valid_dataset.drop_columns([LABEL])
    predicted_probabilities = valid_dataset_inputs.map_batches(
        OfflinePredictor, fn_constructor_args=(checkpoint,), concurrency=2
    ).materialize()
    offline = predicted_probabilities.take_batch(5)["probability"]
    print("\nOffline, the first trips:", [round(float(p), 4) for p in offline])
    show_quality(valid_dataset, predicted_probabilities)

    # Predict the same trips online, over HTTP.
    serve.run(OnlinePredictor.bind(checkpoint=checkpoint))
    answer = ask(valid_dataset_inputs.take_batch(5))
    print("\nOnline, the same trips:", json.dumps(answer))
    np.testing.assert_allclose(answer["probability"], offline, rtol=1e-6)
    print("Offline and online agree.")


def ask(batch: dict[str, np.ndarray]) -> Any:
    """Send trips to the deployment and return the JSON of its answer."""
    data = pd.DataFrame(batch).to_json(orient="records")
    response = requests.post("http://localhost:8000/", json=data, timeout=30)
    response.raise_for_status()
    return response.json()


def show_quality(valid: "ray.data.Dataset", predicted: "ray.data.Dataset") -> None:
    """Print how well the label can be told from these columns: hardly at all."""
    labels = valid.to_pandas()[LABEL].to_numpy()
    scores = predicted.to_pandas()["probability"].to_numpy()
    right = float(np.mean((scores > 0.5) == labels))
    print(f"AUC on {len(labels):,} validation trips: {area_under_curve(labels, scores):.3f}")
    print(f"Right: {right:.1%}; saying `big tip` every time is right for {labels.mean():.1%}")


def area_under_curve(labels: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a trip with a big tip scores above one without; ties count half."""
    _, which, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which]
    positive = int(labels.sum())
    above = ranks[labels].sum() - positive * (positive + 1) / 2
    return float(above / (positive * (len(labels) - positive)))


def main() -> None:
    """Run the lesson; what it leaves behind is in the folder that was given, if one was."""
    # Two workers need two CPUs; on a machine with one they take turns.
    ray.init(num_cpus=max(2, os.cpu_count() or 1))
    try:
        if kept := os.environ.get("STORAGE_PATH"):
            learn(str(Path(kept).resolve()))
        else:
            with tempfile.TemporaryDirectory(prefix="heliostat-taxi-") as storage:
                learn(storage)
            print(f"\nWhat was in {storage} is removed; STORAGE_PATH=folder keeps it.")
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
