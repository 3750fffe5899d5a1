"""load: an import path becomes an application."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heliostat.serve._import import load, names_of
from heliostat.serve.schema import ServeApplicationSchema

CODE = """
from pydantic import BaseModel
from heliostat import serve

class Args(BaseModel):
    n: int = 3

@serve.deployment
class Inner: ...

@serve.deployment(num_replicas=2)
class Outer:
    def __init__(self, one, many): ...

inner = Inner.bind()
app = Outer.bind(inner, [inner, {"k": inner}])

def typed(args: Args):
    return Outer.options(name=f"O{args.n + 1}").bind(inner, [])

def plain(args):
    return Outer.options(name=args["name"]).bind(inner, [])

def nothing():
    return 7
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(code: str) -> None:
        (tmp_path / "some_app.py").write_text(code)

    write(CODE)
    return write


def app(name: str, **options: Any) -> Any:
    return load(ServeApplicationSchema.parse({"import_path": f"some_app:{name}", **options}, "x"))


def test_options_replace_those_in_the_code_and_a_shared_deployment_stays_one(module: Any):
    options = [{"name": "Inner", "num_replicas": 5, "ray_actor_options": {"num_cpus": 0}}]
    made = app("app", deployments=options, runtime_env={"env_vars": {"A": "1"}})
    inner, outer = names_of(made)
    assert (inner.deployment.num_replicas, outer.deployment.num_replicas) == (5, 2)
    assert made.args[0] is made.args[1][0] is made.args[1][1]["k"]
    assert inner.deployment.ray_actor_options["num_cpus"] == 0
    assert outer.deployment.ray_actor_options["runtime_env"] == {"env_vars": {"A": "1"}}


def test_builders_get_their_args_as_they_are_annotated(module: Any):
    assert app("typed", args={"n": "4"}).deployment.name == "O5"
    assert app("typed").deployment.name == "O4"
    assert app("plain", args={"name": "P"}).deployment.name == "P"


def test_a_file_that_has_changed_is_read_again(module: Callable[[str], None]):
    assert app("app").deployment.num_replicas == 2
    module(CODE.replace("num_replicas=2", "num_replicas=9 + 0"))
    assert app("app").deployment.num_replicas == 9


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("none", {}, "some_app has no 'none'"),
        ("nothing", {}, "got int"),
        ("nothing", {"args": {"a": 1}}, "takes no args"),
        ("app", {"args": {"a": 1}}, "takes no args"),
        ("app", {"deployments": [{"name": "X"}]}, "has no deployments ['X']: ['Inner', 'Outer']"),
    ],
)
def test_what_is_not_there_is_told(module: Any, name: str, options: Any, words: str):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the words follow
        app(name, **options)
    assert words in str(error.value)


def test_a_missing_module_of_the_users_own_is_their_error(module: Callable[[str], None]):
    module("import no_such_module_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        app("app")
