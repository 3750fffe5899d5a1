"""The five lessons, unchanged, on a Ray cluster of two nodes: only HELIOSTAT_ADDRESS is set."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ray import cluster

pytest.importorskip("ray.cluster_utils")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about itself
    pytest.mark.usefixtures("torchvision_anywhere"),
]

FOLDER = Path(__file__).parents[2] / "examples" / "lessons"
SAYS = {
    "lesson1_libraries": r"offline: (\[0\.\d+, 0\.\d+, 0\.\d+\])\nonline:  \1",
    "lesson2_train": r"two workers: epoch 1, .*\n\d+ of \d+ unseen digits",
    "lesson3_resnet": r"best lr=\S+ of 4 tries",
    "lesson3_tune": r"best a=5 of 8 tries, rmse 0\.",
    "lesson4_data": r"accuracy 0\.9\d\n200 200 200\n200 predictions written",
    "lesson5_serve": r"300 requests answered, none lost.*\n(.*\n)*.*documentation at /docs: 200",
}


@pytest.fixture(scope="module")
def two_nodes(torchvision_anywhere):
    with cluster.nodes({}, {}) as nodes:
        yield nodes


def test_each_lesson_has_its_line_here():
    assert set(SAYS) == {path.stem for path in FOLDER.glob("lesson*.py")}


@pytest.mark.parametrize("lesson", SAYS)
def test_a_lesson_says_the_same_on_a_cluster(lesson, two_nodes, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sizes = {"IMAGES": "128", "COUNT": "64", "ROWS": "2000", "MNIST_ROOT": str(tmp_path / "data")}
    places = {"HOME": str(tmp_path), "STORAGE": str(tmp_path / "results"), "PORT": str(port)}
    done = subprocess.run(
        [sys.executable, FOLDER / f"{lesson}.py"],
        env=cluster.environment(two_nodes, **sizes, **places),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    assert re.search(SAYS[lesson], done.stdout), done.stdout
