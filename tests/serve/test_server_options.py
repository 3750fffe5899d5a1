"""Where Serve listens, how its controller starts, and which requests are traced."""

from __future__ import annotations

from typing import Any

import pytest

from heliostat.serve import ControllerOptions, HTTPOptions, TracingConfig


def test_http_options_come_as_themselves_as_a_dict_or_not_at_all():
    assert HTTPOptions.parse(None) == HTTPOptions("127.0.0.1", 8000)
    assert HTTPOptions.parse({"port": 1}) == HTTPOptions.parse(HTTPOptions(port=1))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"prot": 1}, TypeError, "no 'prot'; it takes host, port"),
        ({"port": 70000}, ValueError, r"0\.\.65535, got 70000"),
        ({"port": "80"}, TypeError, "port must be an int"),
        ({"root_path": "x"}, ValueError, "must start with '/'"),
        ({"ssl_keyfile": "x"}, ValueError, "ssl_keyfile and ssl_certfile must both"),
        ({"ssl_ca_certs": "x"}, ValueError, "ssl_ca_certs needs"),
        ({"location": "NoServer"}, ValueError, "'HeadOnly' or 'EveryNode', got 'NoServer'"),
        ({"middlewares": [1]}, ValueError, "add_middleware"),
        ({"num_cpus": 1}, ValueError, "num_cpus must be 0"),
        ({"request_timeout_s": 0}, ValueError, "request_timeout_s must be > 0"),
    ],
)
def test_bad_http_options_are_named(options: dict[str, Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        HTTPOptions.parse(options)


def test_no_host_is_nobody_listening():
    assert HTTPOptions(host=None).is_disabled
    assert HTTPOptions(location="Disabled").is_disabled
    assert not HTTPOptions().is_disabled


def test_files_of_certificates_that_are_not_there_are_named():
    with pytest.raises(OSError, match=r"ssl_certfile='no\.pem'"):
        HTTPOptions(ssl_keyfile="no.key", ssl_certfile="no.pem").tls()


def test_the_controllers_environment_is_variables_and_nothing_else():
    assert ControllerOptions.parse(None) is None
    given = {"runtime_env": {"env_vars": {"A": "b"}}}
    assert ControllerOptions.parse(given) == ControllerOptions({"env_vars": {"A": "b"}})
    assert ControllerOptions().env_vars == {}


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ("x", TypeError, "a ControllerOptions or a dict"),
        ({"env_vars": {}}, TypeError, "no 'env_vars'; it takes runtime_env"),
        ({"runtime_env": "x"}, TypeError, "is a dict: 'x'"),
        ({"runtime_env": {"pip": []}}, ValueError, r"takes env_vars only, got \['pip'\]"),
        ({"runtime_env": {"env_vars": {"A": 1}}}, TypeError, "'A': 1"),
    ],
)
def test_bad_controller_options_are_named(options: Any, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        ControllerOptions.parse(options)


def test_nothing_is_traced_unless_somebody_says_so(monkeypatch: pytest.MonkeyPatch):
    assert TracingConfig.parse(None) is None
    assert TracingConfig.parse({"sampling_ratio": 1}) is None
    assert TracingConfig.parse({"enabled": True}) == TracingConfig(True, "", 0.01)
    monkeypatch.setenv("RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH", "a:b")
    monkeypatch.setenv("RAY_SERVE_TRACING_SAMPLING_RATIO", "0.5")
    assert TracingConfig.parse(None) == TracingConfig(True, "a:b", 0.5)
    assert TracingConfig.parse(TracingConfig(enabled=False)) is None


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (3, TypeError, "a TracingConfig or a dict"),
        ({"ratio": 1}, TypeError, "no 'ratio'; it takes enabled"),
        ({"sampling_ratio": 2}, ValueError, r"0\.\.1, got 2"),
        ({"exporter_import_path": 3}, TypeError, "'module:function'; got 3"),
    ],
)
def test_bad_tracing_options_are_named(options: Any, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        TracingConfig.parse(options)
