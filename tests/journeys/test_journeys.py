"""The journeys on the pages are the ones that calls make, and they are no longer than they say.

A page lists stops, `file:function`. Each must exist. The stops of this process (those in numbered
lines not marked *In the worker* or *If*) must be passed, in that order, when the page's call is made.
"""

import ast
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import heliostat as ray
from heliostat.testing.clock import until
from tools.hops import Walk, follow

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/journeys").glob("*.md"))
STOP = re.compile(r"`([\w/]+\.py)(?::([\w.]+))?`")
CEILING = re.compile(r"touches at most \*\*(\d+)\*\* files")
ELSEWHERE = re.compile(r"\*(In the [\w, ]+|If)\*")


def functions(file: Path) -> set[str]:
    """Qualified names of all functions and classes of a file."""

    def names(node: ast.AST, prefix: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{prefix}{child.name}"
                yield from names(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.If):  # types for those who check, code for those who run
                yield from names(child, prefix)

    return set(names(ast.parse(file.read_text()), ""))


def steps(page: Path) -> list[str]:
    """The items of the first numbered list of a page."""
    text = page.read_text().split("\n1. ", 1)[1].split("\n\n", 1)[0]
    return re.split(r"\n\d+\. ", text)


def stops_here(page: Path) -> list[str]:
    """The stops that this process passes."""
    found = []
    for step in steps(page):
        here = ELSEWHERE.split(step)[0]
        found += [f"{file}:{name}" for file, name in STOP.findall(here) if name]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_stop_exists(page):
    missing = []
    for file, name in STOP.findall(page.read_text()):
        path = ROOT / "src/heliostat" / file
        if not path.exists() or (name and name not in functions(path)):
            missing.append(f"{file}:{name}")
    assert missing == []


# The calls. Each is made once before it is followed, so that nothing is counted but the call.


def task() -> Callable[[], object]:
    @ray.remote
    def double(x):
        return 2 * x

    return lambda: ray.get(double.remote(21))


def data() -> Callable[[], object]:
    def same(batch):
        return batch

    dataset = ray.data.range(100)
    return lambda: dataset.map_batches(same).take(5)


def train(storage: Path) -> Callable[[], object]:
    from heliostat.train import DataParallelTrainer, RunConfig, ScalingConfig, report

    def loop():
        report({"loss": 1.0})

    return lambda: DataParallelTrainer(
        loop,
        scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
        run_config=RunConfig(storage_path=str(storage)),
    ).fit()


def tune(storage: Path) -> Callable[[], object]:
    from heliostat.train import RunConfig
    from heliostat.tune import TuneConfig, Tuner, grid_search, report

    def objective(config):
        report({"loss": config["x"]})

    return lambda: Tuner(
        objective,
        param_space={"x": grid_search([1, 2])},
        tune_config=TuneConfig(metric="loss", mode="min"),
        run_config=RunConfig(storage_path=str(storage)),
    ).fit()


def serve() -> Callable[[], object]:
    from heliostat import serve

    @serve.deployment
    class Double:
        def __call__(self, x):
            return 2 * x

    handle = serve.run(Double.bind(), route_prefix=None)
    return lambda: handle.remote(21).result()


CALLS = {"task": task, "data": data, "train": train, "tune": tune, "serve": serve}


@pytest.fixture
def call(request, tmp_path, monkeypatch):
    """The call of a page, in a session of its own."""
    monkeypatch.setenv("HELIOSTAT_PROGRESS", "0")
    name = request.getfixturevalue("page").stem
    ray.init(num_cpus=2)
    make = CALLS[name]
    yield partial(make, tmp_path)() if name in ("train", "tune") else make()
    if name == "serve":
        ray.serve.shutdown()
    ray.shutdown()


def walked(call: Callable[[], object], idle: dict[str, float]) -> Walk:
    call()
    # What the first call started has ended, so that its end is not counted with the second.
    until(lambda: ray.available_resources() == idle)
    with follow() as walk:
        call()
    return walk


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_the_call_passes_its_stops_and_touches_no_more_files_than_the_page_says(page, call):
    ceiling = CEILING.search(page.read_text())
    assert ceiling is not None
    # A call may meet another in the queue, as the processes' luck will have it: one of ten does not.
    idle = ray.available_resources()
    walks = [walked(call, idle)]
    while len(walks[-1].files) > int(ceiling[1]) and len(walks) < 10:
        walks.append(walked(call, idle))
    walk = walks[-1]
    expected = stops_here(page)
    assert len(expected) >= 3
    assert walk.missing(*expected) == [], "\n".join(walk.stops)
    assert len(walk.files) <= int(ceiling[1]), "\n".join(walk.files)
