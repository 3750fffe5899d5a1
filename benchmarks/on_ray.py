"""On one Ray cluster of two nodes: are our Data, Tune and Serve faster there than Ray's own?

    python -m benchmarks.on_ray [--rounds 2] [--rows 5000000] [--trials 50] [--seconds 3]

Needs an interpreter that has both Ray and Heliostat: HELIOSTAT_BENCH_RAY_PYTHON, or this one. Each of
the programs runs with `heliostat` and with `ray`, in turns, as a process of its own that joins the
cluster; the public API only. The cluster is made by Ray's `cluster_utils` and is gone at the end.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.ratios import Row, show
from benchmarks.serve_echo import free_port, load, until_up

KEYS, FILES = 100_000, 20

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(shutdown_at_exit=True)
for _ in range(2): cluster.add_node(num_cpus=2, object_store_memory=1 << 30, include_dashboard=False)
print(cluster.address, flush=True); sys.stdin.read(); cluster.shutdown()
"""

BEGIN = """
import importlib, json, logging, sys, time
package, address, *rest = sys.argv[1:]
ray = importlib.import_module(package)
ray.init(address, log_to_driver=False, logging_level="ERROR")

def seconds(work):
    began = time.perf_counter(); answer = work()
    return time.perf_counter() - began, answer
"""

DATA = f"""{BEGIN}
data = importlib.import_module(package + ".data")
logging.getLogger("ray.data").setLevel("ERROR")
data.DataContext.get_current().enable_progress_bars = False
trips, keys = rest
data.range(100, override_num_blocks=4).map_batches(lambda batch: batch).count()

def zones():
    rows = data.read_parquet(trips).groupby("zone").mean("fare").take_all()
    return round(sum(row["mean(fare)"] for row in rows), 3)

def by_key():
    batches = data.read_parquet(trips).groupby("key").sum("duration").iter_batches()
    return sum(int(batch["sum(duration)"].sum()) for batch in batches)

def ordered():
    rows, last, right = 0, -1.0, True
    batches = data.read_parquet(trips).sort("distance").iter_batches(
        batch_size=65536, batch_format="pyarrow")
    for batch in batches:
        values = batch["distance"].to_numpy()
        right = right and values[0] >= last and bool((values[1:] >= values[:-1]).all())
        rows, last = rows + len(values), values[-1]
    return [rows, bool(right)]

def joined():
    left = data.read_parquet(trips).select_columns(["key", "duration"])
    both = left.join(data.read_parquet(keys), join_type="inner", num_partitions=4, on=("key",))
    return int(both.sum("weight"))

print(json.dumps({{work.__name__: seconds(work) for work in (zones, by_key, ordered, joined)}}))
ray.shutdown()
"""

TUNE = f"""{BEGIN}
tune = importlib.import_module(package + ".tune")
folder, trials = rest[0], int(rest[1])

def objective(config):
    tune.report({{"loss": config["x"] ** 2}})

def fit(samples):
    found = tune.Tuner(
        objective,
        param_space={{"x": tune.uniform(-1, 1)}},
        tune_config=tune.TuneConfig(num_samples=samples, metric="loss", mode="min"),
        run_config=tune.RunConfig(storage_path=folder, verbose=0),
    ).fit()
    return len([one for one in found if one.error is None])

fit(2)
print(json.dumps({{"trials": seconds(lambda: fit(trials))}}))
ray.shutdown()
"""

SERVE = f"""{BEGIN}
serve = importlib.import_module(package + ".serve")

@serve.deployment(max_ongoing_requests=100, ray_actor_options={{"num_cpus": 0.1}})
class Echo:
    async def __call__(self, request): return await request.json()

serve.start(http_options={{"host": "127.0.0.1", "port": int(rest[0])}})
serve.run(Echo.bind())
print("up", flush=True); sys.stdin.read()
serve.shutdown(); ray.shutdown()
"""


def make(folder: Path, rows: int) -> tuple[str, str]:
    """Trips in twenty files and a table of keys in four; the folders."""
    trips, keys = folder / "trips", folder / "keys"
    trips.mkdir()
    keys.mkdir()
    zones = np.array(["Bronx", "Brooklyn", "EWR", "Manhattan", "Queens", "Staten Island", "?", "-"])
    for number in range(FILES):
        draw, each = np.random.default_rng(number), rows // FILES
        distance = np.round(draw.gamma(2.0, 1.6, each), 2)
        duration = (distance * 240 + draw.integers(60, 900, each)).astype(np.int64)
        table = pa.table(
            {
                "distance": distance,
                "duration": duration,
                "fare": np.round(2.5 + 2.2 * distance + duration / 120, 2),
                "passengers": draw.integers(1, 7, each).astype(float),
                "hour": draw.integers(0, 24, each),
                "zone": pa.array(zones[draw.integers(0, len(zones), each)]),
                "key": draw.integers(0, KEYS, each),
            }
        )
        pq.write_table(table, trips / f"{number:02}.parquet")
    draw = np.random.default_rng(FILES)
    table = pa.table({"key": draw.permutation(KEYS), "weight": draw.integers(1, 10, KEYS)})
    for number in range(4):
        pq.write_table(table.slice(number * KEYS // 4, KEYS // 4), keys / f"{number}.parquet")
    return str(trips), str(keys)


@contextmanager
def program(python: str, code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The program running; it ends when its input does."""
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "HELIOSTAT_PROGRESS": "0"}
    process = subprocess.Popen(
        [python, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **quiet},
    )
    try:
        yield process
    finally:
        _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the program exited {process.returncode}: {said[-3000:]}")


def measured(python: str, code: str, *arguments: str) -> dict[str, tuple[float, object]]:
    """What the program prints as its last line of JSON: seconds and an answer for each name."""
    with program(python, code, *arguments) as process:
        assert process.stdout is not None
        lines = [line for line in process.stdout if line.startswith("{")]
    return {name: (took, answer) for name, (took, answer) in json.loads(lines[-1]).items()}


def served(python: str, package: str, address: str, seconds: float) -> dict[int, float]:
    """Requests a second, by the number of connections."""
    port = free_port()
    with program(python, SERVE, package, address, str(port)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "up":
                break
        url = f"http://127.0.0.1:{port}/"
        until_up(url)
        return {count: load(url, count, seconds) for count in (1, 16, 64)}


def a_round(
    python: str,
    package: str,
    address: str,
    folder: str,
    places: tuple[str, str],
    asked: argparse.Namespace,
) -> Iterator[tuple[str, float, object]]:
    """Everything once with one of the two packages: a name, a figure and an answer each."""
    for name, (took, answer) in measured(python, DATA, package, address, *places).items():
        yield name, took, answer
    found = measured(python, TUNE, package, address, folder, str(asked.trials))
    took, done = found["trials"]
    yield "trials", asked.trials / took, done
    for count, rate in served(python, package, address, asked.seconds).items():
        yield f"{count} connections", rate, None


def main() -> int:
    """Run the rounds in turns and print the table; 1 if the two give different answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3)
    asked = parser.parse_args()
    python = os.environ.get("HELIOSTAT_BENCH_RAY_PYTHON", sys.executable)
    if python == sys.executable and importlib.util.find_spec("ray") is None:
        print("no Ray here: set HELIOSTAT_BENCH_RAY_PYTHON to an interpreter that has both")
        return 0
    values: dict[str, dict[str, list[float]]] = {p: defaultdict(list) for p in ("heliostat", "ray")}
    answers = defaultdict(set)
    with tempfile.TemporaryDirectory() as folder, program(python, CLUSTER) as cluster:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        places = make(Path(folder), asked.rows)
        for number in range(asked.rounds):
            for package, kept in values.items():
                print(f"round {number + 1} of {asked.rounds}: {package}", flush=True)
                given = a_round(python, package, address, folder, places, asked)
                for name, value, answer in given:
                    print(f"  {name}: {value:,.4g}", flush=True)
                    kept[name].append(value)
                    answers[name].add(json.dumps(answer))
    ours, theirs = values["heliostat"], values["ray"]

    def row(name: str, key: str, unit: str, better: Literal["less", "more"], goal: float) -> Row:
        return Row(name, unit, better, tuple(ours[key]), tuple(theirs[key]), goal)

    rows = [
        row("group by 8 zones, mean", "zones", "s", "less", 2),
        row("group by 100,000 keys, sum", "by_key", "s", "less", 2),
        row("sort", "ordered", "s", "less", 2),
        row("join with 100,000 keys", "joined", "s", "less", 2),
        row("trivial trials", "trials", "/s", "more", 3),
        *(
            row(f"JSON echo, {count} connections", f"{count} connections", "/s", "more", 2)
            for count in (1, 16, 64)
        ),
    ]
    show(rows, "ray")
    differ = [name for name, each in answers.items() if len(each) > 1]
    for name in differ:
        print(f"{name}: different answers: {sorted(answers[name])}")
    return int(bool(differ))


if __name__ == "__main__":
    sys.exit(main())
