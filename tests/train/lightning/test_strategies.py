"""Lightning's Trainer on two ranks, and what is refused."""

import sys
from pathlib import Path

import cloudpickle
import pytest
import pytorch_lightning as pl
import torch

from heliostat.train import CheckpointUploadMode, RunConfig, ScalingConfig, get_checkpoint
from heliostat.train.lightning import (
    RayDDPStrategy,
    RayLightningEnvironment,
    RayTrainReportCallback,
    prepare_trainer,
)
from heliostat.train.torch import TorchTrainer

# Workers cannot import test modules by name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
QUIET = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
    "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip


def module():
    class Line(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(1, 1)

        def training_step(self, batch, index):
            x, y = batch
            loss = torch.nn.functional.mse_loss(self.line(x), y)
            self.log("loss", loss, on_step=False, on_epoch=True, sync_dist=True)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.5)

    torch.manual_seed(0)
    return Line()


def loop(config):
    x = torch.linspace(-1, 1, 64).reshape(-1, 1)
    rows = torch.utils.data.TensorDataset(x, 2 * x + 1)
    trainer = pl.Trainer(
        max_epochs=config["epochs"],
        devices="auto",
        strategy=RayDDPStrategy(),
        plugins=[RayLightningEnvironment()],
        callbacks=[RayTrainReportCallback(config.get("mode"))],
        log_every_n_steps=1,
        **QUIET,
    )
    trainer = prepare_trainer(trainer)
    last = get_checkpoint()
    path = last and Path(last.path, RayTrainReportCallback.CHECKPOINT_NAME)
    trainer.fit(module(), torch.utils.data.DataLoader(rows, 8, num_workers=0), ckpt_path=path)
    return trainer.world_size, trainer.global_step


def test_two_ranks_train_report_and_go_on_where_they_were(local, tmp_path):
    def fit(epochs, mode=None, **options):
        return TorchTrainer(
            loop,
            train_loop_config={"epochs": epochs, "mode": mode},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(storage_path=tmp_path, verbose=0),
            **options,
        ).fit()

    first = fit(2)
    assert first.return_value == (2, 8)  # 64 rows in two halves, 8 a batch: 4 steps an epoch
    assert list(first.metrics_dataframe["epoch"]) == [0, 1]
    assert {"loss", "epoch", "step"} <= set(first.metrics)
    again = fit(3, CheckpointUploadMode.ASYNC, resume_from_checkpoint=first.checkpoint)
    assert list(again.metrics_dataframe["epoch"]) == [2]
    assert again.metrics["loss"] < first.metrics["loss"]
    state = torch.load(Path(again.checkpoint.path, "checkpoint.ckpt"), weights_only=False)
    assert state["epoch"] == 2


@pytest.mark.filterwarnings("ignore")
def test_another_strategy_or_no_trainer_is_refused():
    with pytest.raises(RuntimeError, match="strategy is SingleDeviceStrategy; give it one of Ray"):
        prepare_trainer(pl.Trainer(devices=1, **QUIET))
    with pytest.raises(TypeError, match="takes a Trainer"):
        prepare_trainer(3)
