"""Room: what is missing, and which argument gives it."""

from __future__ import annotations

import re

import pytest

import heliostat as ray
from heliostat import serve
from heliostat.serve._room import lacking
from heliostat.serve.config import DeploymentConfig


def config(**options: object) -> DeploymentConfig:
    return serve.deployment(ray_actor_options=options)(type("D", (), {})).config


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_cpus": 3}, r"CPU: 3.*, and 2.* is free.*'num_cpus': 0\.1.*init\(num_cpus=\.\.\.\)"),
        ({"num_cpus": 0, "num_gpus": 1}, r"GPU: 1.*'num_gpus': 0\.1.*init\(num_gpus=\.\.\.\)"),
        (
            {"num_cpus": 0, "resources": {"lamp": 1}},
            r"lamp: 1.*'resources': \{'lamp': \.\.\.\}.*init\(resources=\.\.\.\)",
        ),
        ({"num_cpus": 0, "num_gpus": 0.1}, r"GPU: 0\.1.* room\. Deploy fewer replicas, or give"),
        ({"num_cpus": 2}, "^$"),
    ],
)
def test_a_replica_that_finds_no_room_hears_which_arguments_help(options: dict, says: str):
    with ray.init(engine="inline", num_cpus=2):
        assert re.search(says, lacking(config(**options)))


def test_an_update_that_needs_the_room_of_the_old_version_warns_of_nothing(port, capfd):
    whole = serve.deployment(ray_actor_options={"num_cpus": 4})(lambda: "x")
    serve.run(whole.options(version="1").bind(), name="whole")
    serve.run(whole.options(version="2").bind(), name="whole")
    serve.delete("whole")
    assert "waits for room" not in "".join(capfd.readouterr())
