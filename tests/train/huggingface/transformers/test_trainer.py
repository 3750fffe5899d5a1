"""Transformers' Trainer and Accelerate on two ranks; the model is built from its configuration."""

import importlib.util
import re
import sys
from pathlib import Path

import cloudpickle
import pytest
import torch

from heliostat.train import RunConfig, ScalingConfig, report
from heliostat.train.huggingface.transformers._trainer import _Batches
from heliostat.train.torch import TorchTrainer

# Workers cannot import test modules by name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def fit(loop, tmp_path, **options):
    return TorchTrainer(
        loop,
        train_loop_config={"out": str(tmp_path / "out")},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=tmp_path / "runs", verbose=0),
        **options,
    ).fit()


@pytest.fixture(scope="module")
def example():
    """The example about digits, as a module that workers get with what they run."""
    pytest.importorskip("sklearn")
    path = Path(__file__).parents[4] / "examples" / "transformers_digits.py"
    spec = importlib.util.spec_from_file_location("transformers_digits", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["transformers_digits"] = module
    spec.loader.exec_module(module)
    cloudpickle.register_pickle_by_value(module)
    yield module
    cloudpickle.unregister_pickle_by_value(module)
    del sys.modules["transformers_digits"]


@pytest.mark.usefixtures("local")
def test_two_ranks_train_on_a_dataset_and_report_what_is_saved(
    example, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("STORAGE", str(tmp_path))
    monkeypatch.setenv("EPOCHS", "4")
    example.main()
    said = capsys.readouterr().out
    losses = [float(loss) for loss in re.findall(r"epoch \d  loss (\S+)", said)]
    assert len(losses) == 4
    assert losses == sorted(losses, reverse=True)
    right = re.search(r"(\d+) of 360 unseen digits", said)
    assert right is not None
    assert int(right[1]) > 180  # five times as many as by chance
    assert len(list((tmp_path / "vit").glob("checkpoint_*"))) == 4


def accelerated(config):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 64).reshape(-1, 1)
    rows = torch.utils.data.TensorDataset(x, 3 * x)
    model = torch.nn.Linear(1, 1)
    model, optimizer, loader = accelerator.prepare(
        model, torch.optim.SGD(model.parameters(), lr=0.5), torch.utils.data.DataLoader(rows, 8)
    )
    for inputs, targets in loader:
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
    report({"ranks": accelerator.num_processes, "batches": len(loader)})
    return accelerator.unwrap_model(model).weight.item()


def test_accelerate_finds_the_ranks_by_itself(local, tmp_path):
    result = fit(accelerated, tmp_path)
    assert result.metrics == {"ranks": 2, "batches": 4}
    assert result.return_value != 0


def test_batches_that_can_be_gone_through_once_are_not_gone_through_twice():
    once = _Batches(iter([1, 2]))
    assert list(once) == [1, 2]
    with pytest.raises(RuntimeError, match="only once; set max_steps"):
        iter(once)
    again = _Batches([1])
    assert list(again) == list(again) == [1]
