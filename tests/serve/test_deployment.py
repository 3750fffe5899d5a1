"""@deployment, .options, .bind: parsed at the edge."""

from __future__ import annotations

from typing import Any

import pytest

from heliostat import serve


@serve.deployment
class Model:
    def __init__(self, weights: str, size: int = 1): ...


@serve.deployment
def answer(request: Any) -> str:
    return "yes"


def test_a_deployment_is_named_after_its_class_and_has_rays_defaults():
    assert (Model.name, Model.num_replicas, Model.max_ongoing_requests) == ("Model", 1, 5)
    assert (Model.max_queued_requests, Model.user_config) == (-1, None)


def test_options_make_a_copy():
    two = Model.options(num_replicas=2, name="Two", ray_actor_options={"num_cpus": 0.5})
    assert (two.name, two.num_replicas, Model.num_replicas) == ("Two", 2, 1)
    assert two.ray_actor_options == {"num_cpus": 0.5}


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"num_replicas": 0}, ValueError, "num_replicas must be >= 1, got 0"),
        ({"num_replicas": "2"}, TypeError, "num_replicas must be an int"),
        ({"max_ongoing_requests": 0}, ValueError, "max_ongoing_requests"),
        ({"autoscaling_config": {"min": 1}}, TypeError, "autoscaling_config has no 'min'"),
        ({"replicas": 2}, TypeError, "no option 'replicas'; it takes .*num_replicas"),
        ({"ray_actor_options": {"cpus": 1}}, ValueError, "no 'cpus'; it takes num_cpus"),
        ({"name": "a#b"}, ValueError, "without '#'"),
    ],
)
def test_bad_options_are_told_at_the_line_that_has_them(
    options: dict[str, Any], error: type[Exception], text: str
):
    with pytest.raises(error, match=text):
        Model.options(**options)
    with pytest.raises(error, match=text):
        serve.deployment(**options)(dict)


def test_a_replica_takes_one_cpu_unless_its_options_say_otherwise():
    assert Model.config.resources() == {"CPU": 1}
    options = {"num_cpus": 0, "num_gpus": 0.5, "resources": {"disk": 2}}
    assert Model.options(ray_actor_options=options).config.resources() == {"GPU": 0.5, "disk": 2}


def test_arguments_are_checked_against_the_constructor_when_they_are_bound():
    assert Model.bind("w", size=2).kwargs == {"size": 2}
    with pytest.raises(TypeError, match=r"Model\.bind\(\): missing a required argument: 'weights'"):
        Model.bind()
    with pytest.raises(TypeError, match="unexpected keyword argument 'checkpoint'"):
        Model.bind("w", checkpoint=1)
    with pytest.raises(TypeError, match="answer is a function"):
        answer.bind(1)


class Answerer:
    def __call__(self) -> str:
        return "yes"


def test_a_deployment_is_not_called_but_its_class_can_be():
    with pytest.raises(RuntimeError, match=r"Model\.bind"):
        Model("w")
    assert answer.func_or_class(None) == "yes"
    with pytest.raises(TypeError, match="is a deployment already"):
        serve.deployment(Model)
    with pytest.raises(TypeError, match=r"takes a class or function, got .*arguments of \.bind"):
        serve.deployment(Answerer())


def test_a_deployment_has_no_arguments_of_its_own_its_application_has():
    bound = Model.bind("w", size=2)
    assert (Model.init_args, Model.init_kwargs) == ((), {})
    assert (bound.args, bound.kwargs) == (("w",), {"size": 2})
