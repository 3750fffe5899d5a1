"""Population based training: the worst trials go on from the best ones' checkpoints."""

import random

import heliostat
from heliostat import tune
from heliostat.tune.schedulers import PopulationBasedTraining


class Descend(tune.Trainable):
    """Gradient descent on a parabola, a step at a time."""

    def setup(self, config):
        """Begin far away."""
        self.x = 10.0

    def step(self):
        """One step."""
        self.x -= self.config["lr"] * 2 * (self.x - 3)
        return {"loss": (self.x - 3) ** 2}

    def save_checkpoint(self, checkpoint_dir):
        """Where it is."""
        return {"x": self.x}

    def load_checkpoint(self, checkpoint):
        """Go on from there."""
        self.x = checkpoint["x"]


def main():
    """Four trials, which change their learning rates every five steps."""
    random.seed(1)
    grid = tune.Tuner(
        Descend,
        param_space={"lr": tune.grid_search([0.0001, 0.001, 0.01, 0.02])},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            scheduler=PopulationBasedTraining(
                time_attr="training_iteration",
                perturbation_interval=5,
                hyperparam_mutations={"lr": tune.loguniform(1e-4, 1e-1)},
            ),
        ),
        run_config=tune.RunConfig(stop={"training_iteration": 30}),
    ).fit()
    losses = sorted(result.metrics["loss"] for result in grid)
    print(f"{len(losses)} trials, the worst ends at {losses[-1]:.3g}; alone it would be at 48")


if __name__ == "__main__":
    heliostat.init(num_cpus=2, ignore_reinit_error=True)
    main()
