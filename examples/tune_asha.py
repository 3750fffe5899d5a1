"""ASHA: most trials are stopped early, the good ones train on."""

import heliostat
from heliostat import tune
from heliostat.tune.schedulers import ASHAScheduler


def descend(config):
    """Gradient descent on a parabola; only some learning rates get anywhere."""
    x = 10.0
    for _ in range(27):
        x -= config["lr"] * 2 * (x - 3)
        tune.report({"loss": (x - 3) ** 2})


def main():
    """Thirty learning rates, each stopped as soon as it is not among the best third."""
    grid = tune.Tuner(
        descend,
        param_space={"lr": tune.loguniform(1e-4, 1e-1)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=30,
            search_alg=tune.search.BasicVariantGenerator(random_state=1),
            scheduler=ASHAScheduler(max_t=27, grace_period=1, reduction_factor=3),
        ),
    ).fit()
    steps = [result.metrics["training_iteration"] for result in grid]
    best = grid.get_best_result()
    print(f"{sum(steps)} steps instead of {27 * len(steps)}; best lr={best.config['lr']:.3f}")


if __name__ == "__main__":
    heliostat.init(num_cpus=2, ignore_reinit_error=True)
    main()
