"""The `heliostat` command as a person runs it: a process of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path


def heliostat(*args, cwd=None, timeout_s=60, program="heliostat.cli", **environment):
    """Run the command and wait for its end."""
    return subprocess.run(
        [sys.executable, "-m", program, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=cwd,
        env={**os.environ, "HELIOSTAT_PROGRESS": "0", **environment},
        check=False,
    )


def run_script(tmp_path: Path, source: str, *args, options=(), **environment):
    """`heliostat run` on a script with this text."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(source))
    return heliostat("run", *options, script, *args, cwd=tmp_path, **environment)
