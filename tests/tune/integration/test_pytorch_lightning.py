"""What Lightning logs is reported by the trial, when and with what it was asked for."""

import os

import pytest

pl = pytest.importorskip("pytorch_lightning")
torch = pytest.importorskip("torch")
integration = pytest.importorskip("heliostat.tune.integration.pytorch_lightning")

pytestmark = pytest.mark.filterwarnings("ignore")


class Line(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(1, 1)

    def training_step(self, batch, index):
        return self.line(batch[0]).square().mean()

    def validation_step(self, batch, index):
        self.log("val_loss", self.line(batch[0]).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 1)))

    val_dataloader = train_dataloader


def fit(callback):
    pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[callback],
    ).fit(Line())  # fmt: skip


def test_each_validation_is_a_report_with_a_checkpoint(run_study):
    callback = integration.TuneReportCheckpointCallback({"loss": "val_loss"}, filename="line.ckpt")
    (result,) = run_study(lambda _: fit(callback))
    assert result.error is None
    assert len(result.metrics_dataframe["loss"]) == 2
    assert os.listdir(result.checkpoint.path) == ["line.ckpt"]


def test_metrics_alone_at_another_time(run_study):
    callback = integration.TuneReportCallback("val_loss", on=["train_epoch_end"])
    (result,) = run_study(lambda _: fit(callback))
    assert result.metrics["val_loss"] >= 0
    assert result.checkpoint is None


def test_a_hook_that_lightning_has_not_is_refused():
    with pytest.raises(ValueError, match="on='lunch' is no hook"):
        integration.TuneReportCallback(on="lunch")
