"""Every example as a notebook, in a kernel; a few of them in seconds, all of them by `make soak`."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples import test_serve, test_tune
from tools import notebooks

for package in ("ipykernel", "nbclient", "nbformat"):
    pytest.importorskip(package)

pytestmark = pytest.mark.usefixtures("torchvision_anywhere")
QUICK = ("lesson3_tune", "serve_streaming")
SAYS = {
    **{Path(name).name: says for name, says in (test_serve.SAYS | test_tune.SAYS).items()},
    "digits_batch": r"1[01]\d\d of 1198 unseen digits .*\n1198 guesses written",
    "digits_ddp": r"of \d+ unseen digits",
    "transformers_digits": r"of 360 unseen digits",
    "taxi": r"Offline and online agree\.",
    "taxi_boosting": r"(?i)lightgbm",
    "taxi_endpoint": r"422",
    "lesson1_libraries": r"offline: (\[0\.\d+, 0\.\d+, 0\.\d+\])\nonline:  \1",
    "lesson2_train": r"\d+ of \d+ unseen digits",
    "lesson4_data": r"(?s)ReadImage\n.*accuracy 0\.9\d\n200 200 200\n200 predictions written",
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.stem, marks=() if path.stem in QUICK else pytest.mark.soak)
        for path in notebooks.SCRIPTS
    ],
)
def test_a_notebook_shows_what_its_script_prints(name, tmp_path):
    (path,) = (one for one in notebooks.SCRIPTS if one.stem == name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ, "HOME": str(tmp_path), "PORT": str(port), "STORAGE": str(tmp_path / "results"),
        "HELIOSTAT_PROGRESS": "0", "IMAGES": "192", "COUNT": "64", "ROWS": "5000",
        "EPOCHS": "2",
        "MNIST_ROOT": str(tmp_path / "data"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tools.notebooks", "--execute", path.with_suffix(".ipynb")],
        cwd=notebooks.ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(SAYS[name], done.stdout), done.stdout
