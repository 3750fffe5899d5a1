"""What the REST interface tells is read back by the models of `serve.schema`."""

from __future__ import annotations

import os
import time

from starlette.testclient import TestClient

from heliostat import serve
from heliostat.serve import schema
from heliostat.serve._rest import Deployments, application

PATH = "/api/serve/applications/"


def test_a_get_is_read_back_by_the_models_of_it(port: int):
    @serve.deployment(
        autoscaling_config={"min_replicas": 1, "max_replicas": 2}, ray_actor_options={"num_cpus": 0}
    )
    class Told:
        pass

    serve.run(Told.bind(), name="told", route_prefix="/told")
    app = application(Deployments(), "secret", lambda: None)
    headers = {"authorization": "Bearer secret"}
    client = TestClient(app, base_url="http://127.0.0.1:8265", headers=headers)
    found = schema.ServeInstanceDetails(**client.get(PATH).json())
    serve.delete("told")
    told = found.applications["told"]
    assert (told.name, told.route_prefix, told.source) == ("told", "/told", "imperative")
    deployment = told.deployments["Told"]
    assert deployment.deployment_config["max_ongoing_requests"] == 5
    assert deployment.required_resources == {"CPU": 0}
    assert deployment.autoscaling_detail is not None
    assert deployment.autoscaling_detail.scaling_status == schema.AutoscalingStatus.STABLE
    (replica,) = deployment.replicas
    assert replica.state == schema.ReplicaState.RUNNING
    assert replica.pid not in (None, os.getpid())
    assert 0 < replica.start_time_s <= time.time()
    (group,) = found.target_groups
    assert (group.route_prefix, group.targets[0].port) == ("/told", port)
    assert found.proxies["127.0.0.1"].status == schema.ProxyStatus.HEALTHY
    assert found.controller_health_metrics.process_memory_mb > 1


def test_without_serve_there_is_an_empty_answer_to_read():
    empty = schema.ServeInstanceDetails.get_empty_schema_dict()
    found = schema.ServeInstanceDetails(**empty)
    assert (found.applications, found.proxies, found.target_groups) == ({}, {}, [])


def test_durations_have_a_mean_and_a_spread():
    assert schema.DurationStats.from_values([]) == schema.DurationStats()
    assert schema.DurationStats.from_values([2.0]).std == 0
