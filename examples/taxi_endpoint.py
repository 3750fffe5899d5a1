"""A typed endpoint for the taxi model, straight from its checkpoint: no class, no parsing.

Trains on some trips, serves what the trainer saved, and asks as a client would. Run it with

    python examples/taxi_endpoint.py

It needs xgboost, and the port 8000, or another one in the variable PORT.
"""

import os
import tempfile
from pathlib import Path

import httpx
import numpy as np
import xgboost

import heliostat as ray
from heliostat import serve
from heliostat.train import RunConfig, ScalingConfig
from heliostat.train.xgboost import XGBoostTrainer

TRIPS = Path(__file__).resolve().parent / "data" / "taxi_lesson1.parquet"
LABEL = "is_big_tip"
PORT = int(os.environ.get("PORT", "8000"))


def main() -> None:
    """Fit, serve, ask."""
    trips = ray.data.read_parquet(str(TRIPS)).limit(int(os.environ.get("ROWS", "20000")))
    result = XGBoostTrainer(
        label_column=LABEL,
        params={"objective": "binary:logistic"},
        num_boost_round=5,
        datasets={"train": trips},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=tempfile.mkdtemp()),
    ).fit()

    serve.start(http_options={"port": PORT})
    some = trips.take(3)
    serve.run(serve.from_checkpoint(result.checkpoint, sample=some[0]))

    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}") as client:
        rows = [{name: value for name, value in trip.items() if name != LABEL} for trip in some]
        answer = client.post("/predict", json=rows).raise_for_status().json()["predictions"]
        print("probabilities of a big tip:", [round(one, 4) for one in answer])

        model = XGBoostTrainer.get_model(result.checkpoint)
        table = np.array([[trip[name] for name in model.feature_names] for trip in some], float)
        inputs = xgboost.DMatrix(
            table, feature_names=model.feature_names, feature_types=model.feature_types
        )
        np.testing.assert_allclose(answer, model.predict(inputs), rtol=1e-5)
        print("They are the model's own.")

        row = client.get("/openapi.json").json()["components"]["schemas"]["Row"]
        print("columns:", ", ".join(row["properties"]))
        wrong = client.post("/predict", json=[{**rows[0], "trip_distance": "far"}])
        print(f"a row with text for a distance: {wrong.status_code}, {wrong.json()['detail'][0]}")
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    ray.init(num_cpus=3, ignore_reinit_error=True)
    main()
