"""Distributed data-parallel training: a small network reads handwritten digits, on two workers.

The data is scikit-learn's 1,797 real digits of 8 x 8 pixels (UCI "Optical Recognition of
Handwritten Digits"), which come with the library: nothing is downloaded. Run it with

    python examples/digits_ddp.py

It needs torch and scikit-learn. The loop is that of a program for one process; what makes it run
on several is marked (1) to (4).
"""

import os
import tempfile

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import heliostat as ray
from heliostat.train import Checkpoint, RunConfig, ScalingConfig, get_context, report
from heliostat.train.torch import TorchTrainer, get_device, prepare_data_loader, prepare_model


def datasets():
    """1,437 digits to learn from, and 360 that the network never sees."""
    digits = load_digits()
    pixels = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    everything = TensorDataset(pixels[order], torch.tensor(digits.target)[order])
    return [TensorDataset(*everything[part]) for part in (slice(360, None), slice(0, 360))]


def network():
    """Two convolutions and a linear layer."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(32 * 4 * 4, 10),
    )


def train_func(config):
    """The loop, as every worker runs it."""
    torch.manual_seed(0)
    learn, check = datasets()
    model = prepare_model(network())  # (1) gradients are averaged over the workers
    loader = DataLoader(learn, config["batch_size"], shuffle=True)
    loader = prepare_data_loader(loader)  # (2) each worker has its own half of the digits
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    for epoch in range(config["num_epochs"]):
        if get_context().get_world_size() > 1:
            loader.sampler.set_epoch(epoch)  # (3) and another half each time
        model.train()
        for images, labels in loader:
            loss = cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            images, labels = (part.to(get_device()) for part in check.tensors)
            accuracy = (model(images).argmax(1) == labels).float().mean().item()
        metrics = {"epoch": epoch, "loss": loss.item(), "accuracy": accuracy}
        with tempfile.TemporaryDirectory() as directory:
            checkpoint = None
            if get_context().get_world_rank() == 0:
                inner = getattr(model, "module", model)
                torch.save(inner.state_dict(), os.path.join(directory, "model.pt"))
                checkpoint = Checkpoint.from_directory(directory)
            report(metrics, checkpoint=checkpoint)  # (4) the metrics of rank 0 are the run's


def main():
    """Train, then read unseen digits with what was kept."""
    trainer = TorchTrainer(
        train_func,
        train_loop_config={"lr": 3e-3, "batch_size": 32, "num_epochs": 5},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=os.environ.get("STORAGE", "results"), name="digits"),
    )
    result = trainer.fit()
    for row in result.metrics_dataframe[["epoch", "loss", "accuracy"]].itertuples(index=False):
        print(f"epoch {row.epoch:.0f}  loss {row.loss:.3f}  accuracy {row.accuracy:.3f}")

    model = network()
    with result.checkpoint.as_directory() as directory:
        model.load_state_dict(torch.load(os.path.join(directory, "model.pt")))
    images, labels = datasets()[1].tensors
    with torch.inference_mode():
        read = model.eval()(images).argmax(1)
    print(f"{(read == labels).sum()} of {len(labels)} unseen digits were read as what they are")
    print("the first ten:", read[:10].tolist(), "should be", labels[:10].tolist())
    ray.shutdown()


if __name__ == "__main__":
    main()
