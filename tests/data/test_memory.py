"""A pipeline over ten times its memory budget ends, and stays within the budget and 30 %."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MIB = 1 << 20
BUDGET = 512 * MIB
ROWS = 1 << 20

PIPELINE = """
import sys
import numpy as np
import heliostat as ray

source, target, budget = sys.argv[1:]
ray.init(num_cpus=2)
context = ray.data.DataContext.get_current()
context.memory_budget_bytes = int(budget)
context.enable_progress_bars = False

def scored(batch):
    return batch | {"score": np.sqrt(batch["fare"] * batch["distance"])}

ray.data.read_parquet(source).map_batches(scored).sort("distance").write_parquet(target)
"""


def tree(pid):
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from tree(int(child))
    yield pid


def pss_bytes(pid):
    total = 0
    try:
        for one in tree(pid):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) << 10
    except (OSError, ProcessLookupError):
        return 0  # somebody has ended meanwhile; it is looked again
    return total


def peak_of(arguments):
    """The most that a program and all its processes have held at once."""
    peak = 0
    with subprocess.Popen([sys.executable, "-c", PIPELINE, *arguments]) as running:
        while running.poll() is None:
            peak = max(peak, pss_bytes(running.pid))
            try:
                running.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
    assert running.returncode == 0
    return peak


def write_files(folder, files):
    size = 0
    for number in range(files):
        rng = np.random.default_rng(number)
        zones = pa.array([f"zone {zone}" for zone in range(200)])
        table = pa.table(
            {
                "distance": rng.gamma(2, 1.6, ROWS),
                "fare": np.round(rng.gamma(2, 9, ROWS), 2),
                "minutes": rng.integers(1, 240, ROWS),
                "zone": zones.take(pa.array(rng.integers(0, 200, ROWS))),
                "trip": np.arange(number * ROWS, (number + 1) * ROWS),
            }
        )
        pq.write_table(table, folder / f"{number:03}.parquet", row_group_size=1 << 18)
        size += table.nbytes
    return size


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_ten_times_the_budget_is_mapped_sorted_and_written(tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    files = 118
    assert write_files(source, files) > 10 * BUDGET
    peak = peak_of([str(source), str(target), str(BUDGET)])
    print(f"peak {peak / MIB:.0f} MiB of {BUDGET / MIB:.0f}")
    last, rows = -1.0, 0
    for path in sorted(target.iterdir()):
        distance = pq.read_table(path, columns=["distance"])["distance"].to_numpy()
        assert distance[0] >= last
        assert (np.diff(distance) >= 0).all()
        last, rows = distance[-1], rows + len(distance)
    assert rows == files * ROWS
    assert peak <= BUDGET * 1.3
