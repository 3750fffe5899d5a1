"""The examples of Serve run as they are and print what they promise."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAYS = {
    "lessons/lesson5_serve": r"""(?s)labels: +(\[0, 1, 2, 3, 4, 5, 6, 7\])
over HTTP: +\1
by handle: +\1
4 replicas with a tenth of a \wPU each
.*300 requests answered, none lost; at most [1234] replicas, now 0
composed: +\1
FastAPI: +\1
.*float_type.*
bad input: 422; documentation at /docs: 200""",
    "serve_streaming": r"over HTTP: streams .* last\nby handle: streams begin with\n.* the first\n",
    "serve_batching": r"99 scores and 1 error\nbatches of up to 16 rows",
    "taxi_endpoint": r"big tip: \[0\.\d+, .*\nThey are the model's own\.\ncolumns: .*distance.*\n.*: 422,",
    "serve_multiplexing": r"hello in the words of dan\n.* no replica loaded more than [23]",
}


@pytest.mark.parametrize("name", SAYS)
def test_an_example_prints_what_it_promises(name, tmp_path):
    if name == "lessons/lesson5_serve":
        pytest.importorskip("torch")
        pytest.importorskip("sklearn")
    if name == "taxi_endpoint":
        pytest.importorskip("xgboost")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "HOME": str(tmp_path), "PORT": str(port)}
    program = [sys.executable, EXAMPLES / f"{name}.py"]
    done = subprocess.run(
        program, capture_output=True, text=True, timeout=170, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(SAYS[name], done.stdout), done.stdout
