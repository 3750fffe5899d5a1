"""Lesson 2 on real MNIST, as people run it, with few pictures."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("torch", "torchmetrics", "torchvision", "mlxtend"):
    pytest.importorskip(package)

pytestmark = pytest.mark.usefixtures("torchvision_anywhere")
EXAMPLE = Path(__file__).parents[2] / "examples" / "lessons" / "lesson2_train.py"


@pytest.mark.slow
def test_a_resnet_learns_to_read_in_one_process_and_on_two_workers(tmp_path):
    environment = {
        **os.environ, "STORAGE": str(tmp_path / "results"), "HELIOSTAT_NUM_CPUS": "2",
        "HELIOSTAT_PRELOAD": "1", "MNIST_ROOT": str(tmp_path / "data"), "IMAGES": "192",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, EXAMPLE], env=environment, capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"one process: epoch 0, loss \d", done.stdout)
    first, second = re.findall(r"two workers: epoch \d, loss \S+, AUROC (\S+)", done.stdout)
    assert 0.5 < float(first) < float(second)
    read = re.search(r"(\d+) of (\d+) unseen digits", done.stdout)
    assert read is not None
    assert int(read[1]) > int(read[2]) / 5  # twice as many as by chance
