"""What does a program pay for `import heliostat`, and for the first touch of each library?

Every import happens in a fresh interpreter, ours and Ray's in turn so that both meet the same
machine; the time is what the import adds, without the interpreter's own start. With
HELIOSTAT_BENCH_RAY_PYTHON naming an interpreter that has ray, its imports are the baseline.
`--rounds N` (default 5).
"""

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict

from benchmarks.ratios import Row, show

IMPORTS = ("", ".data", ".train", ".train.xgboost", ".tune", ".serve", ".util")
IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
# What `import heliostat` must leave alone, and how long it may take: `heliostat run` and every
# worker start with it.
HEAVY = ("numpy", "pyarrow", "pandas", "torch", "xgboost", "starlette", "fastapi", "uvicorn")
LOADED = f"import heliostat, sys; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
BOUND_S = 0.060
PROGRESS = "heliostat.util.progress"


def import_s(python: str, module: str) -> float | None:
    """Seconds that an import takes; None where it fails."""
    done = subprocess.run(
        [python, "-c", IMPORT.format(module)], capture_output=True, text=True, check=False
    )
    return float(done.stdout) if done.returncode == 0 else None


def command_s() -> float:
    """Seconds of `heliostat --version`, the interpreter's start included."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "heliostat.cli", "--version"], stdout=subprocess.DEVNULL, check=True
    )
    return time.perf_counter() - started


def measure(rounds: int, ray: str | None) -> dict[str, list[float]]:
    """Times by module; `command` is the command line."""
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for part in IMPORTS:
            times[f"heliostat{part}"].append(import_s(sys.executable, f"heliostat{part}") or -1)
            if ray is not None and (took := import_s(ray, f"ray{part}")) is not None:
                times[f"ray{part}"].append(took)
        times[PROGRESS].append(import_s(sys.executable, PROGRESS) or -1)
        times["command"].append(command_s())
    return {name: took for name, took in times.items() if min(took) > 0}


def main() -> int:
    """Print the table; 1 when `import heliostat` is over its bound or loads what it must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    times = measure(parser.parse_args().rounds, os.environ.get("HELIOSTAT_BENCH_RAY_PYTHON"))
    rows = [
        Row(
            f"import {name}",
            "ms",
            "less",
            tuple(1000 * took for took in times[name]),
            tuple(1000 * took for took in times.get(name.replace("heliostat", "ray"), ())),
        )
        for name in times
        if name.startswith("heliostat")
    ]
    command = tuple(1000 * took for took in times["command"])
    show([*rows, Row("heliostat --version, whole", "ms", "less", command)], "ray")
    heavy = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    ).stdout.strip()
    print(f"`import heliostat` loads {heavy or 'nothing heavy'}")
    # The fastest of the rounds: what else the machine does only ever adds.
    over = min(times["heliostat"]) > BOUND_S
    if over:
        print(f"`import heliostat` took over {1000 * BOUND_S:.0f} ms in every round")
    return 1 if over or heavy else 0


if __name__ == "__main__":
    sys.exit(main())
