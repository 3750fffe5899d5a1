"""Lesson 3, second part: which learning rate suits ResNet-18 on handwritten digits, as with Ray Tune.

The digits are scikit-learn's, enlarged to the 28 x 28 pixels of MNIST, so nothing is downloaded; with
`MNIST=mnist.npz` (the file that Keras publishes) they are MNIST's. Sizes are such that two CPUs need
seconds. It needs torch and scikit-learn.

    python examples/lessons/lesson3_resnet.py
"""

# %% [markdown]
# # Lesson 3, second part: the learning rate of a network
#
# The loop of lesson 2, tried with several learning rates at the same time.

# %%
import os

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import heliostat as ray
from heliostat import train, tune

ray.init(num_cpus=2, ignore_reinit_error=True)
COUNT = int(os.environ.get("COUNT", "256"))

# %% [markdown]
# ## The data


# %%
def digits():
    """Pictures of 28 x 28 pixels between -1 and 1, and what they show."""
    if "MNIST" in os.environ:
        file = np.load(os.environ["MNIST"])
        pixels, labels = torch.tensor(file["x_train"]) / 255, torch.tensor(file["y_train"])
    else:
        data = load_digits()
        pixels, labels = torch.tensor(data.images) / 16, torch.tensor(data.target)
    pixels = nn.functional.interpolate(pixels[:COUNT, None].float(), size=(28, 28))
    return pixels * 2 - 1, labels[:COUNT].long()


images, labels = digits()
print(tuple(images.shape), labels[:10].tolist())

# %% [markdown]
# ## The model


# %%
class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.around = nn.Sequential()
        if stride > 1 or before != after:
            self.around = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, images):
        """Add both."""
        return torch.relu(self.inner(images) + self.around(images))


def resnet18():
    """ResNet-18 for ten classes; its first layer takes one channel, as in the lesson."""
    layers = [nn.Conv2d(1, 64, 7, 2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, padding=1))
    before = 64
    for after in (64, 128, 256, 512):
        layers += [Block(before, after, 1 if after == 64 else 2), Block(after, after, 1)]
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


print(f"{sum(each.numel() for each in resnet18().parameters()):,} parameters")

# %% [markdown]
# ## A trainable
#
# The learning rate comes from the configuration. What is large and the same for all trials is an
# argument beside it.


# %%
def train_loop_torch(config, images, labels):
    """The lesson's loop; the loss of an epoch is reported instead of printed."""
    torch.manual_seed(0)
    model = resnet18()
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    for _ in range(config["num_epochs"]):
        losses = []
        for batch in torch.randperm(len(images)).split(config["batch_size"]):
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        train.report({"loss": sum(losses) / len(losses)})


# %% [markdown]
# ## Where to search
#
# What is a number stays as it is; what is a distribution is drawn for each trial. A learning rate is
# searched on a logarithmic scale: as many between 0.0001 and 0.001 as between 0.01 and 0.1.

# %%
param_space = {"num_epochs": 1, "batch_size": 32, "lr": tune.loguniform(1e-5, 1e-1)}
print("for example:", [f"{param_space['lr'].sample():.2g}" for _ in range(4)])

# %% [markdown]
# ## The search
#
# `with_parameters` gives the pictures to all trials once, in shared memory.

# %%
tuner = tune.Tuner(
    tune.with_parameters(train_loop_torch, images=images, labels=labels),
    param_space=param_space,
    tune_config=tune.TuneConfig(
        metric="loss",
        mode="min",
        num_samples=4,
        search_alg=tune.search.BasicVariantGenerator(random_state=0),
    ),
)
results = tuner.fit()

# %%
for result in results:
    print(f"lr={result.config['lr']:.2g}: loss {result.metrics['loss']:.2f}")
best = results.get_best_result()
print(f"best lr={best.config['lr']:.2g} of 4 tries, loss {best.metrics['loss']:.2f}")

# %%
ray.shutdown()
