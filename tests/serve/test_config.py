"""HTTPOptions and the options of deployments."""

from __future__ import annotations

from typing import Any

import pytest

from heliostat.serve import HTTPOptions
from heliostat.serve.config import DeploymentConfig


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


def config(**options: Any) -> DeploymentConfig:
    return DeploymentConfig().with_options(options)


def test_a_number_of_replicas_and_bounds_exclude_each_other():
    with pytest.raises(ValueError, match="exclude each other"):
        config(num_replicas=2, autoscaling_config={"max_replicas": 3})
    scaled = config(autoscaling_config={"min_replicas": 0, "max_replicas": 3})
    assert scaled.first_replicas == 0
    assert scaled.with_options({"num_replicas": 2}).first_replicas == 2


def test_auto_is_from_one_to_a_hundred():
    auto = config(num_replicas="auto").autoscaling_config
    assert auto is not None
    assert (auto.min_replicas, auto.max_replicas) == (1, 100)
    more = config(num_replicas="auto", autoscaling_config={"min_replicas": 2}).autoscaling_config
    assert more is not None
    assert (more.min_replicas, more.max_replicas) == (2, 100)


def test_what_a_refused_client_gets_is_503_or_429():
    assert config(backpressure_config={"status_code": 429}).backpressure_config is not None
    for bad in ({"status_code": 500}, {"retry_after_s": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            config(backpressure_config=bad)
