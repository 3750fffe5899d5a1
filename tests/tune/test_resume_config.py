"""ResumeConfig and SyncConfig."""

from heliostat.tune import ResumeConfig, SyncConfig


def test_unfinished_trials_go_on_unless_told_otherwise():
    kind = ResumeConfig.ResumeType
    assert ResumeConfig() == ResumeConfig(kind.SKIP, kind.RESUME, kind.SKIP)
    assert SyncConfig().sync_artifacts_on_checkpoint
