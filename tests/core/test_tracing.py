"""Spans: asked for in one process, run in another, in one trace."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

import heliostat as ray

HOOK = """
import os
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

def setup():
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    out = open(f"{os.environ['SPANS']}/{os.getpid()}", "w", buffering=1)
    line = lambda span: span.to_json(indent=None) + "\\n"
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out, formatter=line)))
"""
PROGRAM = """
import sys
import heliostat as ray
ray.init(engine=sys.argv[1], num_cpus=2, _tracing_startup_hook="hook:setup")

@ray.remote
def inner(n): return n + 1

@ray.remote
def outer(n): return ray.get(inner.remote(n))

@ray.remote
def stream():
    yield 1
    yield 2

@ray.remote
class Model:
    def __init__(self, n): self.n = n
    def run(self): return self.n
    @staticmethod
    def fixed(n): return n
    @classmethod
    def name(cls): return cls.__name__
    def fail(self): raise KeyError("no")

@ray.remote
class Lazy:
    async def run(self, ref): return await ref[0]

assert ray.get(outer.remote(1)) == 2
assert ray.get(outer.remote(ray.put(2))) == 3
assert [ray.get(ref) for ref in stream.options(num_returns="streaming").remote()] == [1, 2]
model = Model.remote(7)
assert ray.get([model.run.remote(), model.fixed.remote(3), model.name.remote()]) == [7, 3, "Model"]
try:
    ray.get(model.fail.remote())
except KeyError:
    print("raised")
assert ray.get(Lazy.remote().run.remote([inner.remote(1)])) == 2
"""


@pytest.mark.parametrize("engine", ["local", "inline"])
def test_work_is_in_the_trace_of_whoever_asked_for_it(engine, tmp_path):
    pytest.importorskip("opentelemetry.sdk")
    (tmp_path / "hook.py").write_text(HOOK)
    (tmp_path / "spans").mkdir()
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run(
        [sys.executable, "program.py", engine],
        cwd=tmp_path,
        env={**os.environ, "SPANS": str(tmp_path / "spans")},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout == "raised\n", done.stderr
    lines = [x for path in (tmp_path / "spans").iterdir() for x in path.read_text().splitlines()]
    spans = {(span["name"], span["context"]["span_id"]): span for span in map(json.loads, lines)}
    by_id = {span["context"]["span_id"]: span for span in spans.values()}

    def parents(name):
        (first, *_) = (span for (known, _), span in spans.items() if known == name)
        names = []
        while first is not None:
            names.append(first["name"])
            first = by_id.get(first["parent_id"])
        return names

    assert parents("inner ray.remote_worker")[:2] == ["inner ray.remote_worker", "inner ray.remote"]
    chains = [parents("outer ray.remote_worker"), parents("stream ray.remote_worker")]
    assert chains == [
        ["outer ray.remote_worker", "outer ray.remote"],
        ["stream ray.remote_worker", "stream ray.remote"],
    ]
    assert parents("Model.run ray.remote_worker") == [
        "Model.run ray.remote_worker",
        "run ray.remote",
    ]
    nested = [span for (name, _), span in spans.items() if name == "inner ray.remote"]
    assert any(
        by_id[s["parent_id"]]["name"] == "outer ray.remote_worker" for s in nested if s["parent_id"]
    )
    (failed,) = (
        span for (name, _), span in spans.items() if name == "Model.fail ray.remote_worker"
    )
    assert failed["status"]["status_code"] == "ERROR"


def test_mistakes_are_told():
    with pytest.raises(ValueError, match='must be "module:function", got'):
        ray.init(_tracing_startup_hook="nonsense")
    assert not ray.is_initialized()


def test_a_missing_package_or_hook_is_told():
    try:
        import opentelemetry  # noqa: F401
    except ImportError:
        expected = "pip install opentelemetry-api opentelemetry-sdk"
    else:
        expected = "cannot be imported"
    with pytest.raises(ImportError, match=expected):
        ray.init(_tracing_startup_hook="no_such_module:setup")
    assert not ray.is_initialized()
