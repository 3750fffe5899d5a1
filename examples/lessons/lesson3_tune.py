"""Lesson 3: find a parameter of a linear model with random search, as with Ray Tune.

    python examples/lessons/lesson3_tune.py

Trials here take milliseconds, so that all attention is on the search.
"""

# %% [markdown]
# # Lesson 3: Tune
#
# Fifty points near the line y = 5 x + 3. Suppose that the 3 can be computed, but that the 5 has to be
# found by trying, as with everything that is a hyperparameter.

# %%
import random

import heliostat as ray
from heliostat import train, tune

ray.init(num_cpus=2, ignore_reinit_error=True)
ROWS = [(x, 5.0 * x + 3.0 + random.Random(x).gauss(0, 0.1)) for x in range(50)]
for x, y in ROWS[:3]:
    print(f"x={x}, y={y:.2f}")

# %% [markdown]
# ## The model
#
# For one given `a`: the best `b`, and how far the line is from the points.


# %%
def fit(a):
    """Fit y = a * x + b for one given `a`, by least squares."""
    b = sum(y - a * x for x, y in ROWS) / len(ROWS)
    rmse = (sum((y - a * x - b) ** 2 for x, y in ROWS) / len(ROWS)) ** 0.5
    return b, rmse


for a in (0, 4, 8):
    b, rmse = fit(a)
    print(f"a={a}: b={b:.2f}, rmse {rmse:.2f}")


# %% [markdown]
# ## A trainable
#
# A function of a configuration that reports. It does not say what it is tried with.


# %%
def train_my_simple_model(config):
    """Fit for the `a` of this trial."""
    b, rmse = fit(config["a"])
    train.report({"rmse": rmse, "b": b})


# %% [markdown]
# ## The search
#
# Eight of the values from 0 to 19; less of `rmse` is better. `random_state` makes it the same eight
# each time, and the scheduler lets every trial go to its end.

# %%
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
results = tuner.fit()

# %% [markdown]
# ## What came of it
#
# A row for each trial, as a pandas frame, and the best of them.

# %%
print(results.get_dataframe()[["config/a", "rmse", "b"]].sort_values("rmse").round(2))

# %%
best = results.get_best_result()
print(f"best a={best.config['a']} of 8 tries, rmse {best.metrics['rmse']:.2f}")

# %% [markdown]
# ## All values instead of some
#
# A grid leaves nothing to chance: each of its values is one trial.

# %%
grid = tune.Tuner(
    train_my_simple_model,
    param_space={"a": tune.grid_search([3, 4, 5, 6, 7])},
    tune_config=tune.TuneConfig(metric="rmse", mode="min"),
)
for result in grid.fit():
    print(f"a={result.config['a']}: rmse {result.metrics['rmse']:.2f}")

# %%
ray.shutdown()
