"""HTTPOptions and AutoscalingConfig."""

from __future__ import annotations

from typing import Any

import pytest

from heliostat.serve import AutoscalingConfig, HTTPOptions


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
        ({"ssl_keyfile": "x"}, NotImplementedError, "proxy in front of Serve"),
        ({"location": "NoServer"}, NotImplementedError, "route_prefix=None"),
        ({"request_timeout_s": 0}, ValueError, "request_timeout_s must be > 0"),
    ],
)
def test_bad_http_options_are_named(options: dict[str, Any], error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        HTTPOptions.parse(options)


def test_autoscaling_bounds_must_agree():
    assert AutoscalingConfig(0, 3, 1).max_replicas == 3
    with pytest.raises(ValueError, match=r"max_replicas \(1\) must be >= min_replicas \(2\)"):
        AutoscalingConfig(min_replicas=2)
    with pytest.raises(ValueError, match=r"initial_replicas \(5\)"):
        AutoscalingConfig(1, 3, initial_replicas=5)
