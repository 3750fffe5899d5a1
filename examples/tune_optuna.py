"""Two goals at once with Optuna: small and exact contradict each other. Needs `pip install optuna`."""

import optuna

import heliostat
from heliostat import tune
from heliostat.tune.search.optuna import OptunaSearch


def model(config):
    """A larger model is more exact."""
    return {"error": 1 / config["width"] + config["noise"] ** 2, "size": config["width"]}


def main():
    """Those results that no other beats in both goals."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    grid = tune.Tuner(
        model,
        param_space={"width": tune.randint(1, 65), "noise": tune.uniform(-1, 1)},
        tune_config=tune.TuneConfig(
            num_samples=60,
            search_alg=OptunaSearch(metric=["error", "size"], mode=["min", "min"], seed=1),
        ),
    ).fit()
    points = [(result.metrics["error"], result.metrics["size"]) for result in grid]
    best = [p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)]
    print(f"{len(best)} of {len(points)} are not beaten in both goals")


if __name__ == "__main__":
    heliostat.init(num_cpus=2, ignore_reinit_error=True)
    main()
