"""The first lines of a zygote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

GONE = """
import os, tempfile
import heliostat as ray
folder = tempfile.mkdtemp()
os.chdir(folder)
os.rmdir(folder)
ray.init(num_cpus=1)
where = ray.remote(os.getcwd)
print(ray.get(where.remote()))
ray.shutdown()
"""


def test_a_program_whose_folder_was_removed_has_workers_that_stand_somewhere(tmp_path: Path):
    program = [sys.executable, "-c", GONE]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stdout) == (0, "/\n"), done.stderr
    assert "folder was removed; its workers run in /" in done.stderr
