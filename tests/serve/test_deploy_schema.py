"""ServeDeploySchema: what a file may say."""

from __future__ import annotations

from typing import Any

import pytest

from heliostat.serve.config import ProxyLocation
from heliostat.serve.schema import ServeDeploySchema

APP = {"import_path": "a:b"}
NONE: dict[str, Any] = {"applications": []}


def test_a_file_is_read_with_rays_keys_and_written_again():
    config = {
        "proxy_location": "Disabled",
        "http_options": {"port": 8001},
        "logging_config": None,
        "target_capacity": 50,
        "tracing_config": {"enabled": True},
        "controller_options": {"runtime_env": {"env_vars": {"A": "b"}}},
        "applications": [
            {**APP, "name": "x", "deployments": [{"name": "D", "num_replicas": 2}]},
            {**APP, "route_prefix": "/y", "args": {"k": 1}},
        ],
    }
    parsed = ServeDeploySchema.parse(config)
    assert parsed.to_http_options().is_disabled
    assert parsed.proxy_location == ProxyLocation.Disabled
    again = parsed.to_dict()
    assert again["applications"][0]["deployments"] == [{"name": "D", "num_replicas": 2}]
    assert ServeDeploySchema.parse(again) == parsed


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], "the config must be a mapping, got list"),
        ({"apps": []}, "the config has no 'apps'; it takes applications"),
        ({}, "the config has no 'applications'"),
        ({"applications": None}, "the config has no 'applications'"),
        ({"applications": [{}]}, "applications[0]: import_path must be"),
        ({"applications": [{"import_pth": "x:y"}]}, "applications[0] has no 'import_pth'"),
        ({"applications": [{"import_path": "x"}]}, "must be 'module:name', got 'x'"),
        ({"applications": [{**APP, "prefix": "/"}]}, "applications[0] has no 'prefix'"),
        ({"applications": [APP, APP]}, "two applications have one name"),
        ({"applications": [APP, {**APP, "name": "x"}]}, "two applications have one route_prefix"),
        ({"applications": [{**APP, "deployments": [{}]}]}, "deployments[0] has no name"),
        (
            {"applications": [{**APP, "deployments": [{"name": "D", "replicas": 1}]}]},
            "deployments[0] (D): a deployment has no option 'replicas'",
        ),
        ({**NONE, "http_options": {"prot": 1}}, "http_options: http_options has no 'prot'"),
        ({**NONE, "proxy_location": "Moon"}, "got 'Moon'"),
        ({**NONE, "grpc_options": {"prot": 1}}, "grpc_options: grpc_options has no 'prot'"),
        ({**NONE, "logging_config": {"level": 1}}, "logging_config has no 'level'"),
        ({**NONE, "tracing_config": {"ratio": 1}}, "tracing_config: tracing_config has no 'ratio'"),
        (
            {**NONE, "controller_options": {"x": 1}},
            "controller_options: controller_options has no 'x'",
        ),
        ({**NONE, "target_capacity": 101}, "target_capacity must be 0..100, got 101"),
        ({**NONE, "target_capacity": "all"}, "target_capacity is a number, got 'all'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(config: Any, words: str):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the words follow
        ServeDeploySchema.parse(config)
    assert words in str(error.value)
