"""Batch inference: pictures of digits, a folder for each label, through a model in an actor pool.

The pictures are scikit-learn's 1,797 real digits of 8 x 8 pixels, written as PNG files; a folder of
your own with `label/name.png` in it (MNIST, for one) does as well: name it in PICTURES. Run it with

    python examples/digits_batch.py

It needs scikit-learn and Pillow. Reading and normalising run in tasks, the model in two actors that
keep it between batches, and all three at once: nothing waits until a stage before it is done.
"""

import os
import tempfile

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import heliostat as ray
from heliostat.data.datasource import Partitioning


def write_pictures(folder):
    """One PNG for each digit, in a folder named by its label."""
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        os.makedirs(f"{folder}/{label}", exist_ok=True)
        Image.fromarray((pixels * 15.9).astype(np.uint8)).save(f"{folder}/{label}/{number}.png")


def normalise(batch):
    """Pixels from 0 to 1, as flat rows."""
    pixels = batch["image"].astype(np.float32) / 255
    return {"pixels": pixels.reshape(len(pixels), -1), "label": batch["label"]}


class Classifier:
    """Holds the model; built once in each actor of the pool."""

    def __init__(self, pixels, labels):
        self.model = LogisticRegression(max_iter=500).fit(pixels, labels)

    def __call__(self, batch):
        """Add what the model says."""
        guess = self.model.predict(batch["pixels"])
        return {"label": batch["label"], "guess": guess, "right": guess == batch["label"]}


def main(folder):
    """Read, learn from a third, classify the others, and write what came of it."""
    pictures = ray.data.read_images(
        folder,
        mode="L",
        partitioning=Partitioning(
            "dir", base_dir=folder, field_names=["label"], field_types={"label": int}
        ),
        shuffle=ray.data.FileShuffleConfig(seed=4, reseed_after_execution=False),
    )
    digits = pictures.map_batches(normalise, batch_size=128)
    test, train = digits.train_test_split(1 / 3, shuffle=True, seed=4)
    learnt = train.take_batch(train.count())
    guesses = test.map_batches(
        Classifier,
        fn_constructor_args=(learnt["pixels"], learnt["label"]),
        concurrency=2,
        num_cpus=0.5,
        batch_size=64,
    ).materialize()
    for row in guesses.groupby("label").mean("right").sort("label").take_all():
        print(f"{row['label']}: {row['mean(right)']:.0%}")
    rows = guesses.count()
    right = guesses.filter(lambda row: row["right"]).count()
    print(f"{right} of {rows} unseen digits are read right ({right / rows:.1%})")
    with tempfile.TemporaryDirectory() as out:
        guesses.random_shuffle(seed=1).write_parquet(out, partition_cols=["label"])
        print(f"{ray.data.read_parquet(out).count()} guesses written, a folder for each label")


if __name__ == "__main__":
    if "PICTURES" in os.environ:
        main(os.environ["PICTURES"])
    else:
        with tempfile.TemporaryDirectory() as made:
            write_pictures(made)
            main(made)
