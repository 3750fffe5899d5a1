"""Transformers' Trainer and Accelerate on two ranks; the model is built from its configuration."""

import sys
from pathlib import Path

import cloudpickle
import pytest
import torch
import transformers

import heliostat
from heliostat.train import RunConfig, ScalingConfig, get_dataset_shard, report
from heliostat.train.huggingface.transformers import RayTrainReportCallback, prepare_trainer
from heliostat.train.huggingface.transformers._trainer import _Batches
from heliostat.train.torch import TorchTrainer

# Workers cannot import test modules by name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
WORDS, LENGTH = 32, 8


def fit(loop, tmp_path, **options):
    return TorchTrainer(
        loop,
        train_loop_config={"out": str(tmp_path / "out")},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=tmp_path / "runs", verbose=0),
        **options,
    ).fit()


def sentences(rows):
    """Texts of which the first word says what they are."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2, WORDS, (rows, LENGTH), generator=generator)
    ids[:, 0] = torch.arange(rows) % 2
    return [{"input_ids": row.numpy(), "labels": int(row[0])} for row in ids]


def fine_tune(config):
    """What people write, with a model that needs no download."""
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(vocab_size=WORDS, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                   intermediate_size=32, max_position_embeddings=LENGTH, num_labels=2)
    )  # fmt: skip
    batches = get_dataset_shard("train").iter_torch_batches(batch_size=8)
    arguments = TrainingArguments(
        config["out"], max_steps=8, save_steps=4, logging_steps=4, learning_rate=3e-3,
        report_to="none", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=batches)
    trainer.add_callback(RayTrainReportCallback())
    prepare_trainer(trainer).train()
    return torch.distributed.get_world_size(), type(trainer).__name__


def test_two_ranks_fine_tune_on_a_dataset_and_report_what_is_saved(local, tmp_path):
    rows = heliostat.data.from_items(sentences(256))
    result = fit(fine_tune, tmp_path, datasets={"train": rows})
    assert result.return_value == (2, "Trainer")
    assert len(result.metrics_dataframe) == 2
    assert "loss" in result.metrics
    model = transformers.BertForSequenceClassification.from_pretrained(
        Path(result.checkpoint.path, RayTrainReportCallback.CHECKPOINT_NAME)
    )
    assert model.config.hidden_size == 16


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
