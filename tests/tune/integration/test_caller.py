"""Who calls a set-up: a trial, a rank or nobody."""

from heliostat import train
from heliostat.tune.integration._caller import Caller, find


def test_who_calls_is_a_trial_a_rank_or_nobody(run_study, tmp_path):
    assert find() == Caller()
    (result,) = run_study(lambda config: dict(zip(Caller._fields, find(), strict=True)), {})
    assert result.metrics["trial_name"].endswith(result.metrics["trial_id"])
    assert result.metrics["rank"] == 0
    trained = train.DataParallelTrainer(
        lambda: train.report({"name": find().trial_name}),
        scaling_config=train.ScalingConfig(num_workers=1),
        run_config=train.RunConfig(name="run", storage_path=str(tmp_path)),
    ).fit()
    assert trained.metrics["name"] == "run"
