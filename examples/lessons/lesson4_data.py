"""Lesson 4: a dataset of pictures, from files to predictions, accuracies and files again.

    python examples/lessons/lesson4_data.py

The pictures are scikit-learn's digits, written as PNG files in a folder for each digit, and the model
learns them first, in seconds: the lesson begins where those are there. It needs torch and scikit-learn.
"""

# %% [markdown]
# # Lesson 4: Data
#
# First what the lesson finds in its bucket: pictures in a folder for each digit, and a model.

# %%
import os
import tempfile

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

import heliostat as ray

ray.init(num_cpus=2, ignore_reinit_error=True)
FOLDER = tempfile.mkdtemp()
MODEL = os.path.join(FOLDER, "model.pt")


def write_pictures(count):
    """A file for each of so many digits."""
    digits = load_digits()
    for number in range(count):
        folder = os.path.join(FOLDER, "digits", str(digits.target[number]))
        os.makedirs(folder, exist_ok=True)
        pixels = (digits.images[number] * 15).astype(np.uint8)
        Image.fromarray(pixels).save(os.path.join(folder, f"{number}.png"))


def write_model():
    """A small network that has seen the other digits, as TorchScript."""
    digits = load_digits()
    images = torch.tensor(digits.images[200:] * 15 / 127.5 - 1).float()[:, None]
    labels = torch.tensor(digits.target[200:])
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so small a model gains nothing from more
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    torch.jit.script(model).save(MODEL)


write_pictures(200)
write_model()

# %% [markdown]
# ## Loading
#
# Read tasks make blocks. Nothing runs before somebody wants rows.

# %%
ds = ray.data.read_images(os.path.join(FOLDER, "digits"), include_paths=True)
ds


# %% [markdown]
# ## Transforming
#
# `map_batches` runs a function on batches; its results may be tensors.


# %%
def normalize(batch: dict[str, np.ndarray], min_: float, max_: float) -> dict[str, np.ndarray]:
    """Pixels between -1 and 1, a tensor for each picture."""
    scale = (max_ - min_) / 2
    batch["image"] = [torch.tensor(one / scale - 1)[None].float() for one in batch["image"]]
    return batch


ds_normalized = ds.map_batches(normalize, fn_kwargs={"min_": 0, "max_": 255})
normalized_batch = ds_normalized.take_batch(batch_size=10)
print(normalized_batch["image"].shape, normalized_batch["image"].min())

# %% [markdown]
# ## With state
#
# A class is built once in each actor; batches pass over it.


# %%
class DigitClassifier:
    """A model that has been trained before."""

    def __init__(self, local_path: str):
        self.model = torch.jit.load(local_path)
        self.model.eval()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Add what the model reads."""
        with torch.no_grad():
            logits = self.model(torch.tensor(batch["image"]).float()).numpy()
        batch["predicted_label"] = np.argmax(logits, axis=1)
        return batch


ds_preds = ds_normalized.map_batches(
    DigitClassifier, fn_constructor_kwargs={"local_path": MODEL}, concurrency=1, batch_size=100
)
print(ds_preds.take_batch(100)["predicted_label"][:5])

# %% [markdown]
# ## Grouping and aggregating


# %%
def add_label(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the folder says."""
    batch["ground_truth_label"] = [int(path.split("/")[-2]) for path in batch["path"]]
    return batch


def compute_accuracy(group: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """How many of a group are read right."""
    return {
        "accuracy": [np.mean(group["predicted_label"] == group["ground_truth_label"])],
        "ground_truth_label": group["ground_truth_label"][:1],
    }


labelled = ds_preds.map_batches(add_label).materialize()
labelled.groupby("ground_truth_label").map_groups(compute_accuracy).to_pandas()

# %%
print(f"accuracy {labelled.map_batches(compute_accuracy).mean(on='accuracy'):.2f}")

# %% [markdown]
# ## Shuffling: files, blocks, rows

# %%
shuffled_files = ray.data.read_images(os.path.join(FOLDER, "digits"), shuffle="files")
shuffled_blocks = labelled.randomize_block_order().materialize()
shuffled_rows = labelled.random_shuffle().materialize()
print(shuffled_files.count(), shuffled_blocks.count(), shuffled_rows.count())

# %% [markdown]
# ## Writing

# %%
labelled.write_parquet(os.path.join(FOLDER, "predictions"))
print(ray.data.read_parquet(os.path.join(FOLDER, "predictions")).count(), "predictions written")

# %%
ray.shutdown()
