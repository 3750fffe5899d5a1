"""LoggingConfig: what it takes, and what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from heliostat import serve
from heliostat.serve.schema import EncodingType, LoggingConfig


def test_its_defaults_are_rays_and_levels_are_names_or_numbers():
    config = LoggingConfig()
    assert (config.encoding, config.log_level, config.logs_dir) == ("TEXT", "INFO", None)
    assert config.enable_access_log
    assert LoggingConfig(encoding="JSON", log_level="debug").encoding is EncodingType.JSON
    assert LoggingConfig(log_level=15).log_level == 15


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"encoding": "XML"}, ValueError, "'TEXT' or 'JSON', got 'XML'"),
        ({"log_level": "LOUD"}, ValueError, "log_level is one of .*INFO.*got 'LOUD'"),
        ({"additional_log_standard_attrs": ["mood"]}, ValueError, "no 'mood'; it has .*lineno"),
        ({"level": "INFO"}, TypeError, "no 'level'; it takes encoding, log_level"),
        ("INFO", TypeError, "a LoggingConfig or a dict, got 'INFO'"),
    ],
)
def test_what_is_wrong_is_told_where_it_is_written(options: Any, kind: type, words: str):
    with pytest.raises(kind, match=words):
        serve.deployment(logging_config=options)
    with pytest.raises(kind, match=words):
        serve.start(logging_config=options)


def test_a_deployment_has_its_own_and_it_can_be_set():
    @serve.deployment(logging_config={"log_level": "ERROR"})
    class D: ...

    D.set_logging_config({"encoding": "JSON"})
    assert D.logging_config == LoggingConfig(encoding="JSON")
    assert D.options(logging_config=LoggingConfig(log_level=5)).logging_config.log_level == 5
