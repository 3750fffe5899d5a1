"""Plots of a study as SVG text: progress, parallel coordinates, importance. Pure; no library is needed.

They get numbers and names; which trials and which metric is the affair of `ResultGrid`.
"""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 60, 44, 52
_INK, _WEAK, _POINT = "#333333", "#cccccc", "#4c78a8"
# From the worst to the best.
_COLD, _WARM = (200, 208, 220), (214, 96, 36)
_BINS = 8


class Run(NamedTuple):
    """A trial in a plot: its parameters by name, and its value."""

    parameters: Mapping[str, Any]
    value: float


class Scale:
    """Values of any one kind -> a position from 0 to 1; numbers as numbers, all others in order.

    Args:
        values: All there are.
    """

    def __init__(self, values: Sequence[Any]) -> None:
        self.numeric = all(_is_number(value) for value in values)
        known = values if self.numeric else list(dict.fromkeys(map(str, values)))
        self._order = {} if self.numeric else {value: n for n, value in enumerate(known)}
        spread = [float(value) for value in values] if self.numeric else [0.0, len(known) - 1.0]
        low, high = min(spread, default=0.0), max(spread, default=0.0)
        # Values over several orders of magnitude are told apart by their logarithms.
        self.logarithmic = self.numeric and low > 0 and high / low >= 100
        self.low, self.high = low, high

    def place(self, value: Any) -> float:
        """Where a value is."""
        number = float(value) if self.numeric else float(self._order[str(value)])
        low, high = self.low, self.high
        if self.logarithmic:
            number, low, high = math.log(number), math.log(low), math.log(high)
        return 0.5 if high == low else (number - low) / (high - low)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """Positions to name, and their names."""
        if not self.numeric:
            return [(self.place(value), str(value)) for value in self._order]
        if self.high == self.low:
            return [(0.5, f"{self.low:.4g}")]
        steps = [n / (count - 1) for n in range(count)]
        if self.logarithmic:
            return [(at, f"{self.low * (self.high / self.low) ** at:.3g}") for at in steps]
        return [(at, f"{self.low + (self.high - self.low) * at:.4g}") for at in steps]


def progress(runs: Sequence[Run], metric: str, mode: str) -> str:
    """The value of each trial in its order, and the best so far as a line.

    Args:
        runs: The trials that have a value.
        metric: What it is.
        mode: "min" or "max".
    """
    scale = Scale([run.value for run in runs])
    best = runs[0].value
    steps: list[tuple[float, float]] = []
    dots = []
    for n, run in enumerate(runs):
        x = _x((n + 0.5) / len(runs))
        steps.append((x, _y(scale.place(best))))
        best = min(best, run.value) if mode == "min" else max(best, run.value)
        steps.append((x, _y(scale.place(best))))
        y = _y(scale.place(run.value))
        dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_POINT}" opacity="0.6"/>')
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in steps)
    line = f'<polyline points="{path}" fill="none" stroke="{_blend(1)}" stroke-width="2"/>'
    counts = [_text(_x((n + 0.5) / len(runs)), _HEIGHT - 30, str(n + 1)) for n in _some(len(runs))]
    axis = _text(_x(0.5), _HEIGHT - 10, "trial", "middle")
    return _page(
        f"{metric} by trial, and the best so far", [*_grid(scale), *dots, line, *counts, axis]
    )


def parallel_coordinates(runs: Sequence[Run], metric: str, mode: str) -> str:
    """A line for each trial through its parameters to its value; the best are warm and on top.

    Args:
        runs: The trials that have a value.
        metric: What it is.
        mode: "min" or "max".
    """
    names = varied(runs)
    columns = {name: Scale([run.parameters[name] for run in runs]) for name in names}
    columns[metric] = scale = Scale([run.value for run in runs])
    places = {name: _x(n / max(len(columns) - 1, 1)) for n, name in enumerate(columns)}
    order = sorted(runs, key=lambda run: run.value, reverse=mode == "min")
    body = []
    for run in order:
        values = {**{name: run.parameters[name] for name in names}, metric: run.value}
        points = " ".join(
            f"{places[name]:.1f},{_y(columns[name].place(value)):.1f}"
            for name, value in values.items()
        )
        worth = scale.place(run.value)
        colour = _blend(1 - worth if mode == "min" else worth)
        body.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
    for name, x in places.items():
        body.append(_line(x, _y(0), x, _y(1), _INK))
        body.append(_text(x, _TOP - 8, name, "middle"))
        body += [_text(x + 4, _y(at) + 4, label) for at, label in columns[name].ticks()]
    return _page(f"Parameters and {metric}", body)


def importances(runs: Sequence[Run]) -> dict[str, float]:
    """How much of the differences in value each parameter explains alone, from 0 to 1, most first.

    Trials are put into a few classes by the parameter; what differs between the classes' means is explained.
    Ranks are compared, so that one terrible trial does not hide the rest.

    Example:
        >>> runs = [Run({"lr": n % 4, "seed": n % 3}, float(n % 4)) for n in range(24)]
        >>> list(importances(runs))
        ['lr', 'seed']
    """
    by_value = sorted(range(len(runs)), key=lambda n: runs[n].value)
    ranks = [0.0] * len(runs)
    for rank, n in enumerate(by_value):
        ranks[n] = float(rank)
    # Equal values have equal ranks.
    for value in {run.value for run in runs}:
        same = [n for n, run in enumerate(runs) if run.value == value]
        mean = sum(ranks[n] for n in same) / len(same)
        for n in same:
            ranks[n] = mean
    found = {
        name: _explained([run.parameters[name] for run in runs], ranks) for name in varied(runs)
    }
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def importance(runs: Sequence[Run], metric: str) -> str:
    """A bar for each parameter.

    Args:
        runs: The trials that have a value.
        metric: What it is.
    """
    shares = importances(runs)
    height = min(34.0, (_HEIGHT - _TOP - _BOTTOM) / max(len(shares), 1))
    body = []
    left, width = 200, _WIDTH - 200 - 80
    for n, (name, share) in enumerate(shares.items()):
        y = _TOP + n * height
        body.append(
            f'<rect x="{left}" y="{y + 4:.1f}" width="{max(share * width, 1):.1f}" '
            f'height="{height - 8:.1f}" fill="{_POINT}"/>'
        )
        body.append(_text(left - 8, y + height / 2 + 4, name, "end"))
        body.append(_text(left + share * width + 6, y + height / 2 + 4, f"{share:.2f}"))
    return _page(f"How much of the differences in {metric} a parameter explains", body)


def varied(runs: Sequence[Run]) -> list[str]:
    """Parameters that all trials have and that are not the same in all."""
    if not runs:
        return []
    common = [name for name in runs[0].parameters if all(name in run.parameters for run in runs)]
    return [name for name in common if len({str(run.parameters[name]) for run in runs}) > 1]


def _explained(values: Sequence[Any], ranks: Sequence[float]) -> float:
    scale = Scale(values)
    distinct = list(dict.fromkeys(map(str, values)))
    if scale.numeric and len(distinct) > _BINS:
        order = sorted(range(len(values)), key=lambda n: scale.place(values[n]))
        classes = [0] * len(values)
        for place, n in enumerate(order):
            classes[n] = place * _BINS // len(values)
    else:
        classes = [distinct.index(str(value)) for value in values]
    mean = sum(ranks) / len(ranks)
    total = sum((rank - mean) ** 2 for rank in ranks)
    between = 0.0
    for one in set(classes):
        members = [rank for rank, its in zip(ranks, classes, strict=True) if its == one]
        between += len(members) * (sum(members) / len(members) - mean) ** 2
    return between / total if total else 0.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _some(count: int) -> list[int]:
    step = max(1, count // 10)
    return list(range(0, count, step))


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _grid(scale: Scale) -> list[str]:
    lines = []
    for at, label in scale.ticks():
        lines.append(_line(_x(0), _y(at), _x(1), _y(at), _WEAK))
        lines.append(_text(_x(0) - 6, _y(at) + 4, label, "end"))
    return lines


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _blend(share: float) -> str:
    mixed = (round(cold + (warm - cold) * share) for cold, warm in zip(_COLD, _WARM, strict=True))
    return f"rgb({','.join(map(str, mixed))})"


def _page(title: str, body: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="11" fill="{_INK}">\n'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>\n'
        f'<text x="{_LEFT}" y="20" font-size="14">{html.escape(title)}</text>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )
