"""Taxi trips by XGBoost and by LightGBM, on two workers each: the same question, the same rows.

Will a passenger tip more than a fifth of the fare? Run it with

    python examples/taxi_boosting.py

It needs xgboost and lightgbm.
"""

import os
import tempfile
from pathlib import Path

import heliostat as ray
from heliostat.train import RunConfig, ScalingConfig
from heliostat.train.lightgbm import LightGBMTrainer
from heliostat.train.xgboost import XGBoostTrainer

TRIPS = Path(__file__).resolve().parent / "data" / "taxi_lesson1.parquet"
LABEL = "is_big_tip"
TRAINERS = {
    "XGBoost": (XGBoostTrainer, {"objective": "binary:logistic", "eval_metric": "auc"}),
    "LightGBM": (LightGBMTrainer, {"objective": "binary", "metric": "auc"}),
}


def main():
    """Train both, and say how well each tells trips apart that it never saw."""
    rows = int(os.environ.get("ROWS", "100000"))
    trips = ray.data.read_parquet(TRIPS).random_shuffle(seed=0).limit(rows)
    learn, check = trips.train_test_split(test_size=0.3)
    for name, (trainer, params) in TRAINERS.items():
        result = trainer(
            label_column=LABEL,
            params=params,
            num_boost_round=20,
            datasets={"train": learn, "valid": check},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(storage_path=tempfile.mkdtemp(), name=name),
        ).fit()
        model = trainer.get_model(result.checkpoint)
        print(f"{name}: AUC {result.metrics['valid-auc']:.3f}, a {type(model).__module__} model")
    ray.shutdown()


if __name__ == "__main__":
    ray.init(num_cpus=2, ignore_reinit_error=True)
    main()
