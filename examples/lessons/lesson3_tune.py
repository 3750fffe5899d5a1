"""Lesson 3: find a parameter of a linear model with random search, as with Ray Tune."""

import random

import heliostat as ray
from heliostat import train, tune

ROWS = [(x, 5.0 * x + 3.0 + random.Random(x).gauss(0, 0.1)) for x in range(50)]


def train_my_simple_model(config):
    """Fit y = a * x + b for one given `a`, by least squares."""
    a = config["a"]
    b = sum(y - a * x for x, y in ROWS) / len(ROWS)
    rmse = (sum((y - a * x - b) ** 2 for x, y in ROWS) / len(ROWS)) ** 0.5
    train.report({"rmse": rmse})


def main():
    """Try eight of the values from 0 to 19."""
    tuner = tune.Tuner(
        trainable=tune.with_resources(train_my_simple_model, {"cpu": 1}),
        param_space={"a": tune.randint(0, 20)},
        tune_config=tune.TuneConfig(
            metric="rmse",
            mode="min",
            num_samples=8,
            search_alg=tune.search.BasicVariantGenerator(random_state=2),
            scheduler=tune.schedulers.FIFOScheduler(),
        ),
    )
    best = tuner.fit().get_best_result()
    print(f"best a={best.config['a']} of 8 tries, rmse {best.metrics['rmse']:.2f}")


if __name__ == "__main__":
    ray.init(num_cpus=2, ignore_reinit_error=True)
    main()
