"""Every example in a docstring runs and prints what it says; every public name has a docstring."""

import doctest
import importlib
import inspect
import io
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from pyarrow import csv

import heliostat

# Arrow's reader of CSV keeps a pipe for signals from its first use on: no leak of an example.
csv.read_csv(io.BytesIO(b"a\n1\n"))

LIBRARIES = ["heliostat", *(f"heliostat.{n}" for n in ("data", "train", "tune", "serve", "util"))]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PROGRAMS = ("__main__",)
OURS_BESIDE = ("tools.hops", "tools.names", "benchmarks.ratios")
# They change what `import ray` means for the rest of the process, so they get one of their own.
APART = ("heliostat.alias", "heliostat._alias")
# What the group `integrations` of pyproject.toml brings; environments without it leave these out.
OPTIONAL = {
    "jax",
    "joblib",
    "keras",
    "lightgbm",
    "pytorch_lightning",
    "sklearn",
    "torch",
    "transformers",
}


WITH_PROCESSES = ("heliostat.serve", "heliostat.train")


def modules() -> Iterator[ModuleType]:
    yield heliostat
    for info in pkgutil.walk_packages(heliostat.__path__, "heliostat."):
        if info.name.endswith(PROGRAMS):
            continue
        try:
            yield importlib.import_module(info.name)
        except ImportError as error:
            # A package of ours that says what to install has the cause behind it.
            if not {error.name, getattr(error.__cause__, "name", None)} & OPTIONAL:
                raise
    for name in OURS_BESIDE:
        yield importlib.import_module(name)


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    together = [module for module in modules() if module.__name__ not in APART]
    found = [test for module in together for test in finder.find(module) if test.examples]
    return sorted(found, key=lambda test: test.name)


@pytest.fixture
def clean(request, monkeypatch, tmp_path):
    """Examples begin in an empty folder without a session; the one they start is `inline`,

    unless theirs is a library that needs processes.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HELIOSTAT_PROGRESS", "0")
    needs_processes = request.getfixturevalue("example").name.startswith(WITH_PROCESSES)
    monkeypatch.setenv("HELIOSTAT_ENGINE", "local" if needs_processes else "inline")
    heliostat.shutdown()
    yield
    heliostat.shutdown()


@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name)
def test_an_example_prints_what_it_says(example, clean):
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    # A copy of the names: what an example binds must not stay in the module.
    example.globs = dict(example.globs)
    result = runner.run(example, out=said.append)
    assert result.failed == 0, "".join(said)


@pytest.mark.parametrize("module", APART)
def test_the_examples_of_a_module_print_what_they_say(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = f"import doctest, {module} as m; raise SystemExit(doctest.testmod(m).failed)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_public_name_has_a_docstring(library):
    module = importlib.import_module(library)
    undocumented = [
        name
        for name in getattr(module, "__all__", ())
        if callable(value := getattr(module, name)) and not inspect.getdoc(value)
    ]
    assert undocumented == []
