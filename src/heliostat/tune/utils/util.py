"""What a searcher of one's own is checked with, and a thread that looks how much of the machine is used."""

import shutil
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

__all__ = ["UtilMonitor", "validate_warmstart"]


def validate_warmstart(
    parameter_names: Sequence[str],
    points_to_evaluate: Sequence[Any] | None,
    evaluated_rewards: Sequence[Any] | None,
    validate_point_name_lengths: bool = True,
) -> None:
    """Whether a searcher of yours can begin with what it was given.

    Args:
        parameter_names: What it searches.
        points_to_evaluate: Configs to try first, each a dict or a list of values.
        evaluated_rewards: What came of them, if that is known.
        validate_point_name_lengths: Whether each is to have a value for each name.

    Raises:
        TypeError: If one is no list, or a point neither list nor dict.
        ValueError: If a point has not as many values as there are names, or there are not as many
            rewards as points.

    Example:
        >>> validate_warmstart(["lr"], [{"lr": 0.1}], [0.9])
    """
    for name, given in (
        ("points_to_evaluate", points_to_evaluate),
        ("evaluated_rewards", evaluated_rewards),
    ):
        if given and not isinstance(given, list):
            raise TypeError(f"{name} must be a list, got {given!r:.80}")
    for point in points_to_evaluate or ():
        if not isinstance(point, dict | list):
            raise TypeError(f"points_to_evaluate must have dicts or lists, got {point!r:.80}")
        if validate_point_name_lengths and len(point) != len(parameter_names):
            raise ValueError(
                f"the point {point!r:.80} has not a value for each of {list(parameter_names)}"
            )
    if (
        points_to_evaluate
        and evaluated_rewards
        and len(points_to_evaluate) != len(evaluated_rewards)
    ):
        raise ValueError(
            f"{len(evaluated_rewards)} evaluated_rewards were given for {len(points_to_evaluate)} "
            "points_to_evaluate"
        )


class UtilMonitor(threading.Thread):
    """Looks in a thread at how much of the machine is in use.

    Args:
        start: Begin at once.
        delay: Seconds between two looks.

    Example:
        >>> import time
        >>> monitor = UtilMonitor(delay=0.01)
        >>> time.sleep(0.2)
        >>> 0 <= monitor.get_data()["perf"]["ram_util_percent"] <= 100
        True
        >>> monitor.stop()
    """

    def __init__(self, start: bool = True, delay: float = 0.7) -> None:
        super().__init__(name="heliostat-utilization", daemon=True)
        self.delay = delay
        self._over = threading.Event()
        self._seen: dict[str, list[float]] = {}
        self._lock = threading.Lock()
        self._before = _cpu_times()
        if start:
            self.start()

    def run(self) -> None:
        """Look until it is stopped."""
        while not self._over.wait(self.delay):
            found = {"ram_util_percent": _ram_percent(), **_gpu_percents()}
            idle, total = _cpu_times()
            if total > self._before[1]:
                part = (idle - self._before[0]) / (total - self._before[1])
                found["cpu_util_percent"] = 100 * (1 - part)
                self._before = idle, total
            with self._lock:
                for name, value in found.items():
                    self._seen.setdefault(name, []).append(value)

    def get_data(self) -> dict[str, dict[str, float]]:
        """The means since this was asked last: `{"perf": {"cpu_util_percent": ...}}`.

        With GPUs also `gpu_util_percent0`, `vram_util_percent0` and so on. {} if there are none, or it
        was stopped.
        """
        with self._lock:
            seen, self._seen = self._seen, {}
        if self._over.is_set() or not seen:
            return {}
        return {"perf": {name: sum(all_) / len(all_) for name, all_ in seen.items()}}

    def stop(self) -> None:
        """Look no more."""
        self._over.set()


def _cpu_times() -> tuple[int, int]:
    """Ticks that all CPUs were idle, and all ticks, since the machine started."""
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _ram_percent() -> float:
    with open("/proc/meminfo") as file:
        found = dict(line.split(":", 1) for line in file)
    total, free = (int(found[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    return 100 * (total - free) / total


def _gpu_percents() -> dict[str, float]:
    if shutil.which("nvidia-smi") is None:
        return {}
    asked = "--query-gpu=utilization.gpu,memory.used,memory.total"
    command = ["nvidia-smi", asked, "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10
        ).stdout
    except (OSError, subprocess.SubprocessError):  # a driver that is not there, or hangs
        return {}
    found: dict[str, float] = {}
    for number, line in enumerate(told.splitlines()):
        try:
            busy, used, total = map(float, line.split(","))
        except ValueError:  # "[N/A]" of a GPU that is shared out
            continue
        found[f"gpu_util_percent{number}"] = busy
        found[f"vram_util_percent{number}"] = 100 * used / total
    return found
