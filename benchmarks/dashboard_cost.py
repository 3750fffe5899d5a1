"""What does a dashboard cost a program that runs many tasks? 5,000 at once, without and with, in turns.

The baseline is the same without it: a ratio of 0.98 is a cost of 2 %. Nobody looks at the pages
meanwhile; `--looking` has somebody ask for the overview once a second. `--rounds N` (default 6).
"""

import argparse
import threading
import time
import urllib.request

import heliostat as ray
from benchmarks.ratios import Row, show

TASKS = 5_000
REPEATS = 12  # per session: the collector looks once a second, and each takes a third of one


@ray.remote
def nothing() -> None:
    """A task."""


def seconds(*, dashboard: bool, looking: bool) -> list[float]:
    """Seconds for 5,000 tasks, again and again in a session of its own."""
    found = []
    with ray.init(num_cpus=2, include_dashboard=dashboard) as context:
        ended = threading.Event()
        watcher = threading.Thread(target=look, args=(context.dashboard_url, ended))
        if dashboard and looking:
            watcher.start()
        ray.get([nothing.remote() for _ in range(TASKS)])
        for _ in range(REPEATS):
            began = time.perf_counter()
            ray.get([nothing.remote() for _ in range(TASKS)])
            found.append(time.perf_counter() - began)
        ended.set()
        if dashboard and looking:
            watcher.join()
    return found


def look(url: str, ended: threading.Event) -> None:
    """Ask for what the first page shows, as a browser does."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    opener.open(f"http://{url}").close()
    origin = url.partition("/?")[0]
    while not ended.wait(1.0):
        for page in ("session", "overview", "series"):
            opener.open(f"http://{origin}/api/page/{page}").close()


def main() -> int:
    """Print the table; 0 whatever the ratio is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--looking", action="store_true")
    options = parser.parse_args()
    without: list[float] = []
    with_: list[float] = []
    for _ in range(options.rounds):
        without += seconds(dashboard=False, looking=False)
        with_ += seconds(dashboard=True, looking=options.looking)
    show(
        [Row("5,000 tasks with a dashboard", "s", "less", tuple(with_), tuple(without), 0.98)],
        "without",
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
