"""Run every benchmark of this folder, one after the other: `python -m benchmarks.run [name ...]`."""

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
NOT_ONE = {"__init__", "run", "ratios"}


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; the exit code is the number that failed."""
    found = sorted(f.stem for f in HERE.glob("*.py") if f.stem not in NOT_ONE)
    unknown = [n for n in names if n not in found]
    if unknown:
        raise SystemExit(f"no benchmark {', '.join(unknown)}; there are {', '.join(found)}")
    failed = []
    for name in names or found:
        began = time.perf_counter()
        print(f"\n==== {name}", flush=True)
        code = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], cwd=HERE.parent, check=False
        ).returncode
        print(f"==== {name}: {time.perf_counter() - began:.0f} s, exit {code}", flush=True)
        if code:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
