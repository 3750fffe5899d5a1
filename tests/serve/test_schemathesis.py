"""Schemathesis asks the FastAPI lesson what its OpenAPI page says it answers, and what it does not.

It has libraries of its own and is not installed with the others: put it into an environment beside
(`pip install schemathesis`), and its program onto the path or into the variable SCHEMATHESIS.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

PROGRAM = os.environ.get("SCHEMATHESIS") or shutil.which("schemathesis")
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "40")


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.skipif(PROGRAM is None, reason="needs schemathesis, in SCHEMATHESIS or on the path")
def test_all_checks_of_schemathesis_pass_on_the_fastapi_lesson(lesson_url, tmp_path):
    command = [PROGRAM, "run", f"{lesson_url}/openapi.json", "-n", EXAMPLES, "--checks", "all"]
    # Not our modules, but its own.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*command, "--request-timeout", "20", "--no-color"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=540,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-5000:]
    generated = re.search(r"(\d+) generated, (\d+) passed", said)
    assert generated is not None, said[-5000:]
    assert int(generated[1]) == int(generated[2]) > 20, said[-5000:]
