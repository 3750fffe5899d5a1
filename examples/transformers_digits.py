"""Transformers' Trainer on two workers: a vision transformer, built from its config, reads digits.

The data is scikit-learn's 1,797 real digits of 8 x 8 pixels, which come with the library, and the model
begins with random weights: nothing is downloaded. Run it with

    python examples/transformers_digits.py

It needs torch, transformers, accelerate and scikit-learn. What makes a program for one process run on
several is marked (1) to (4).
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

import heliostat as ray
from heliostat.train import RunConfig, ScalingConfig, get_dataset_shard
from heliostat.train.huggingface.transformers import RayTrainReportCallback, prepare_trainer
from heliostat.train.torch import TorchTrainer

BATCH = 32


def rows():
    """1,437 digits to learn from, and 360 that the model never sees."""
    digits = load_digits()
    pixels = (digits.images[:, None] / 16).astype("float32")
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0)).numpy()
    every = [{"pixel_values": pixels[i], "labels": int(digits.target[i])} for i in order]
    return every[360:], every[:360]


def model():
    """Four patches a side, two layers: as small as pictures of 64 pixels deserve."""
    return ViTForImageClassification(
        ViTConfig(
            image_size=8, patch_size=2, num_channels=1, num_labels=10, hidden_size=64,
            num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        )
    )  # fmt: skip


class Batches:
    """This worker's share of a dataset, anew in each epoch."""

    def __init__(self, name):
        self.shard = get_dataset_shard(name)  # (1) every worker has its own part of the rows

    def __iter__(self):
        batches = self.shard.iter_torch_batches(
            batch_size=BATCH, local_shuffle_buffer_size=1024, local_shuffle_seed=3
        )
        return iter(batches)


def train_func(config):
    """The loop, as every worker runs it."""
    torch.manual_seed(0)
    arguments = TrainingArguments(
        config["scratch"], max_steps=config["epochs"] * config["steps"], learning_rate=3e-3,
        logging_steps=config["steps"], save_steps=config["steps"], report_to="none", use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model(), arguments, train_dataset=Batches("train"))
    trainer.add_callback(RayTrainReportCallback())  # (2) what it logs and saves is the run's
    prepare_trainer(trainer).train()  # (3) it takes our batches, and averages gradients


def main():
    """Train, then read unseen digits with what was kept."""
    learn, check = rows()
    workers = 2
    with tempfile.TemporaryDirectory() as scratch:
        trainer = TorchTrainer(  # (4) two processes, joined by torch.distributed
            train_func,
            train_loop_config={
                "epochs": int(os.environ.get("EPOCHS", "12")),
                "steps": len(learn) // workers // BATCH,
                "scratch": scratch,
            },
            datasets={"train": ray.data.from_items(learn)},
            scaling_config=ScalingConfig(num_workers=workers),
            run_config=RunConfig(storage_path=os.environ.get("STORAGE", "results"), name="vit"),
        )
        result = trainer.fit()
    for row in result.metrics_dataframe[["epoch", "loss"]].itertuples(index=False):
        print(f"epoch {row.epoch:.0f}  loss {row.loss:.3f}")

    with result.checkpoint.as_directory() as directory:
        read = ViTForImageClassification.from_pretrained(
            Path(directory, RayTrainReportCallback.CHECKPOINT_NAME)
        )
    pixels = torch.from_numpy(np.stack([row["pixel_values"] for row in check]))
    with torch.inference_mode():
        seen = read(pixels).logits.argmax(1)
    right = sum(int(digit) == row["labels"] for digit, row in zip(seen, check, strict=True))
    print(f"{right} of {len(check)} unseen digits were read as what they are")


if __name__ == "__main__":
    ray.init(num_cpus=2, ignore_reinit_error=True)
    main()
    ray.shutdown()
