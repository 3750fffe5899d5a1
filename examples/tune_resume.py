"""A study whose process is killed, and goes on where it was."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import heliostat
from heliostat import tune

# The program that will be killed.
PROGRAM = """
import sys, time
import heliostat
from heliostat import tune

def slow(config):
    time.sleep(0.1)
    return {"loss": (config["x"] - 7) ** 2}

heliostat.init(num_cpus=2)
tune.Tuner(
    slow,
    param_space={"x": tune.grid_search(list(range(20)))},
    tune_config=tune.TuneConfig(metric="loss", mode="min"),
    run_config=tune.RunConfig(name="study", storage_path=sys.argv[1], verbose=0),
).fit()
"""


def slow(config):
    """A trial of a tenth of a second, as in the program."""
    time.sleep(0.1)
    return {"loss": (config["x"] - 7) ** 2}


def main():
    """Begin the study in another process, kill that one, and go on here."""
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, directory])
        study = Path(directory, "study")
        while len(list(study.glob("*/result.json"))) < 5:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = tune.Tuner.restore(study, slow).get_results().num_terminated
        grid = tune.Tuner.restore(study, slow).fit()
        best = grid.get_best_result().config["x"]
        print(
            f"some were done: {0 < before < 20}; all {grid.num_terminated} are now; best x={best}"
        )


if __name__ == "__main__":
    heliostat.init(num_cpus=2, ignore_reinit_error=True)
    main()
