"""Trainables and environments by name."""

import pytest

from heliostat import tune
from heliostat.tune.registry import get_env, get_trainable, register_env, register_trainable


def test_a_registered_name_can_be_tuned(run_study):
    register_trainable("double", lambda config: {"y": 2 * config["x"]})
    [result] = run_study("double", {"x": 4})
    assert result.metrics["y"] == 8


def test_an_unknown_name_is_refused_with_those_there_are():
    register_trainable("known", lambda config: None)
    with pytest.raises(ValueError, match=r"'typo'; registered are: .*'known'"):
        tune.Tuner("typo")
    with pytest.raises(ValueError, match="register_env"):
        get_env("none")


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="a trainable is"):
        register_trainable("x", 3)
    with pytest.raises(TypeError, match="env_creator"):
        register_env("x", 3)
    register_env("x", lambda config: 7)
    assert get_env("x")({}) == 7
    register_trainable("x", len)
    assert get_trainable("x") is len
