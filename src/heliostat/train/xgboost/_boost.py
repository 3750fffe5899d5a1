"""What each rank runs for `XGBoostTrainer(label_column=..., params=...)`: its rows, boosted.

It does not know how ranks are joined.
"""

from __future__ import annotations

import xgboost

import heliostat.train as train
from heliostat.train._boosting import Boosting, rows_of
from heliostat.train.xgboost._callback import RayTrainReportCallback


class ReportEachRound(RayTrainReportCallback):
    """As its parent, but the last round's report carries the model: one report a round."""

    def __init__(self, job: Boosting) -> None:
        super().__init__(
            frequency=job.checkpoint_frequency, checkpoint_at_end=job.checkpoint_at_end
        )
        if job.checkpoint_at_end:
            self._rounds.last = job.num_boost_round


def boost(job: Boosting) -> None:
    """Train on this rank's rows, together with the other ranks."""
    checkpoint = train.get_checkpoint()
    booster = None if checkpoint is None else RayTrainReportCallback.get_model(checkpoint)
    rounds = job.num_boost_round - (booster.num_boosted_rounds() if booster else 0)
    if rounds <= 0:
        return
    matrices = {name: _matrix(name, job) for name in job.evaluated}
    xgboost.train(
        {"nthread": job.threads, **job.params},
        matrices["train"],
        num_boost_round=rounds,
        evals=[(matrix, name) for name, matrix in matrices.items()],
        xgb_model=booster,
        callbacks=[ReportEachRound(job)],
        verbose_eval=False,
    )


def _matrix(name: str, job: Boosting) -> xgboost.DMatrix:
    features, label = rows_of(name, job)
    threads = int(job.params.get("nthread", job.threads))
    return xgboost.DMatrix(features, label, nthread=threads)
