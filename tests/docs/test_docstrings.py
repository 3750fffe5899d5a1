"""Every example in a docstring runs and prints what it says; every public name has a docstring."""

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import heliostat

LIBRARIES = ["heliostat", *(f"heliostat.{n}" for n in ("data", "train", "tune", "serve", "util"))]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PROGRAMS = ("__main__",)


def modules() -> Iterator[ModuleType]:
    yield heliostat
    for info in pkgutil.walk_packages(heliostat.__path__, "heliostat."):
        if not info.name.endswith(PROGRAMS):
            yield importlib.import_module(info.name)


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for module in modules() for test in finder.find(module) if test.examples]
    return sorted(found, key=lambda test: test.name)


@pytest.fixture
def session(request, monkeypatch, tmp_path):
    """Examples begin without a session, in an empty folder; those that start none get `inline`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HELIOSTAT_PROGRESS", "0")
    heliostat.shutdown()
    test = request.getfixturevalue("example")
    source = "".join(e.source for e in test.examples)
    if "init(" not in source and "shutdown(" not in source:
        heliostat.init(engine="inline")
    yield
    heliostat.shutdown()


@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name)
def test_an_example_prints_what_it_says(example, session):
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    # A copy of the names: what an example binds must not stay in the module.
    example.globs = dict(example.globs)
    result = runner.run(example, out=said.append)
    assert result.failed == 0, "".join(said)


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_public_name_has_a_docstring(library):
    module = importlib.import_module(library)
    undocumented = [
        name
        for name in module.__all__
        if callable(value := getattr(module, name)) and not inspect.getdoc(value)
    ]
    assert undocumented == []
