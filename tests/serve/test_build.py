"""An Application graph -> nodes."""

from __future__ import annotations

import pytest

from heliostat import serve
from heliostat.serve._build import build


@serve.deployment
class Inner:
    def __init__(self, *args, **kwargs): ...


@serve.deployment(num_replicas=2)
class Outer:
    def __init__(self, *args, **kwargs): ...


def names(app: serve.Application) -> list[str]:
    return [node.name for node in build(app, "a")]


def test_inner_applications_come_first_and_become_handles_even_inside_containers():
    nodes = build(Outer.bind(1, [Inner.bind()], by_name={"x": (Inner.bind(),)}), "a")
    assert [node.name for node in nodes] == ["Inner", "Inner_1", "Outer"]
    outer = nodes[-1]
    assert outer.args == (1, [serve.DeploymentHandle("Inner", "a")])
    assert outer.kwargs == {"by_name": {"x": (serve.DeploymentHandle("Inner_1", "a"),)}}
    assert outer.config.num_replicas == 2


def test_one_application_bound_twice_is_one_deployment():
    inner = Inner.bind()
    assert names(Outer.bind(inner, Inner.options(name="Other").bind(inner))) == [
        "Inner",
        "Other",
        "Outer",
    ]


def test_what_is_no_application_is_refused_with_the_remedy():
    with pytest.raises(TypeError, match=r"use Inner\.bind\(\)"):
        build(Inner, "a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"made by \.bind\(\), got 3"):
        build(3, "a")  # type: ignore[arg-type]
