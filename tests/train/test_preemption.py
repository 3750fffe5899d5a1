import pytest

from heliostat.train import (
    DataParallelTrainer,
    PreemptionError,
    PreemptionInfo,
    get_preemption_info,
    report,
)


@pytest.mark.usefixtures("inline")
def test_nobody_takes_this_machine_away(run_config):
    trainer = DataParallelTrainer(
        lambda: report({"info": get_preemption_info()}), run_config=run_config()
    )
    assert trainer.fit().metrics == {"info": None}


def test_its_errors_name_the_ranks():
    error = PreemptionError(PreemptionInfo(None, {"a": [1, 0]}), drain_timed_out=True)
    assert str(error) == "the nodes of ranks [0, 1] were taken away"
    assert error.drain_timed_out
