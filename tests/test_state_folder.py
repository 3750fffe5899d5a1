"""The folder of what is kept is the user's own, and where the environment says."""

from pathlib import Path

import pytest

from heliostat._state_folder import state_folder


def test_it_is_made_for_this_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path / "own"))
    made = state_folder("jobs")
    assert made == tmp_path / "own" / "jobs"
    assert made.stat().st_mode & 0o777 == 0o700


def test_without_a_word_it_is_where_the_system_keeps_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HELIOSTAT_STATE_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder("history") == tmp_path / "heliostat" / "history"


def test_one_that_others_can_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path))
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs").chmod(0o755)
    with pytest.raises(PermissionError, match="make it yours alone: chmod 700"):
        state_folder("jobs")
