"""Counters, gauges and histograms of a program, recorded anywhere; Ray's `ray.util.metrics`.

Recording costs about a microsecond and tells nobody. What tasks and actors record is added up in the
driver when they end, and once a second while they run; `exposition` shows the sums.
"""

from __future__ import annotations

import re
import warnings
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from heliostat.runtime_context import Series, records

__all__ = ["Counter", "Gauge", "Histogram", "Metric", "exposition"]

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

Kind = Literal["counter", "gauge", "histogram"]
Tags = Mapping[str, str]


class Metric:
    """What the three kinds have in common; not to be made by itself.

    Args:
        name: Letters, digits, `_` and `:`; anything else is warned of, and not recorded.
        description: For people.
        tag_keys: Names of tags. Each must have a value when something is recorded.

    Raises:
        ValueError: For an empty name.
        TypeError: If tag_keys is no tuple of strings.
    """

    _kind: Kind
    _boundaries: tuple[float, ...] = ()

    def __init__(
        self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None
    ) -> None:
        if not name:
            raise ValueError("Empty name is not allowed. Please provide a metric name.")
        self._discarded = _NAME.fullmatch(name) is None
        if self._discarded:
            warnings.warn(
                f"Invalid metric name: {name}. Metric will be discarded and data will not be "
                "collected or published. Metric names can only contain letters, numbers, _, and "
                ":. Metric names cannot start with numbers.",
                UserWarning,
                stacklevel=3,
            )
        self._name, self._description = name, description
        self._tag_keys = () if tag_keys is None else tag_keys
        if not isinstance(self._tag_keys, tuple):
            raise TypeError(f"tag_keys should be a tuple type, got: {type(tag_keys)}")
        for key in self._tag_keys:
            if not isinstance(key, str):
                raise TypeError(f"Tag keys must be str, got {type(key)}.")
        self._default_tags: dict[str, str] = {}
        self._series: dict[Any, Series] = {}

    def set_default_tags(self, default_tags: Tags) -> Self:
        """Values of tags that are not given when something is recorded.

        Raises:
            ValueError: For a name that is not in tag_keys.
            TypeError: For a value that is no string.
        """
        for key, value in default_tags.items():
            if key not in self._tag_keys:
                raise ValueError(f"Unrecognized tag key {key}.")
            if not isinstance(value, str):
                raise TypeError(f"Tag values must be str, got {type(value)}.")
        self._default_tags = dict(default_tags)
        self._series = {}
        return self

    @property
    def info(self) -> dict[str, Any]:
        """Name, description, tag keys and default tags."""
        return {
            "name": self._name,
            "description": self._description,
            "tag_keys": self._tag_keys,
            "default_tags": dict(self._default_tags),
        }

    def _of(self, tags: Tags | None) -> Series:
        """The series of these tags."""
        key = None if not tags else tuple(tags.items())
        series = self._series.get(key)
        if series is None:
            final = {**self._default_tags, **(tags or {})}
            for value in final.values():
                if not isinstance(value, str):
                    raise TypeError(f"Tag values must be str, got {type(value)}.")
            missing = [key for key in self._tag_keys if key not in final]
            if missing:
                raise ValueError(f"Missing value for tag key(s): {','.join(missing)}.")
            about = (self._name, self._description, self._boundaries)
            series = Series(self._kind, *about, tuple(sorted(final.items())))
            self._series[key] = series
        return series

    def __getstate__(self) -> dict[str, Any]:
        # What was recorded here stays here: a copy in another process records on its own.
        return {**self.__dict__, "_series": {}}


def _number(value: object) -> None:
    if not isinstance(value, (int, float)):
        raise TypeError(f"value must be int or float, got {type(value)}.")


class Counter(Metric):
    """Something that only grows: requests served, rows read. Shown as `ray_NAME_total`.

    Args:
        name: Letters, digits, `_` and `:`.
        description: For people.
        tag_keys: Names of tags.

    Example:
        >>> from heliostat.util.metrics import Counter, exposition
        >>> rows = Counter("rows_read", "Rows read.", tag_keys=("file",))
        >>> rows.inc(3, tags={"file": "a.csv"})
        >>> 'ray_rows_read_total{file="a.csv"} 3.0' in exposition()
        True
    """

    _kind = "counter"

    def inc(self, value: float = 1.0, tags: Tags | None = None) -> None:
        """Add to it.

        Args:
            value: How much; above 0.
            tags: Values of tags.

        Raises:
            TypeError: If it is no number, or a tag no string.
            ValueError: If it is not above 0, or a tag is missing.
        """
        if type(value) is not float and type(value) is not int:
            _number(value)
        if not value > 0:
            raise ValueError(f"value must be >0, got {value}")
        series = self._of(tags)
        if not self._discarded:
            series.add(value)


class Gauge(Metric):
    """Something that goes up and down: the length of a queue. Shown as `ray_NAME`.

    Each process has its own value, told apart by the tag WorkerId; it goes when the process ends.

    Args:
        name: Letters, digits, `_` and `:`.
        description: For people.
        tag_keys: Names of tags.

    Example:
        >>> from heliostat.util.metrics import Gauge
        >>> Gauge("queue_length").set(7)
    """

    _kind = "gauge"

    def set(self, value: float | None, tags: Tags | None = None) -> None:
        """Say what it is now.

        Args:
            value: The value; None changes nothing.
            tags: Values of tags.

        Raises:
            TypeError: If it is no number, or a tag no string.
            ValueError: If a tag is missing.
        """
        if value is None:
            return
        _number(value)
        series = self._of(tags)
        if not self._discarded:
            series.set(value)


class Histogram(Metric):
    """How values are spread: latencies, sizes. Shown as `ray_NAME_bucket`, `_sum` and `_count`.

    Args:
        name: Letters, digits, `_` and `:`.
        description: For people.
        boundaries: Upper ends of the buckets, above 0.
        tag_keys: Names of tags.

    Raises:
        ValueError: If there are no boundaries, or not all of them are above 0.

    Example:
        >>> from heliostat.util.metrics import Histogram
        >>> latency = Histogram("latency_s", "Seconds.", boundaries=[0.1, 1, 10])
        >>> latency.observe(0.3)
    """

    _kind = "histogram"

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: list[float] | None = None,
        tag_keys: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(name, description, tag_keys)
        if not boundaries:
            raise ValueError(
                "boundaries argument should be provided when using the Histogram class. e.g., "
                'Histogram("name", boundaries=[1.0, 2.0])'
            )
        for index, boundary in enumerate(boundaries):
            _number(boundary)
            if not boundary > 0:
                raise ValueError(
                    f"Invalid `boundaries` argument at index {index}, {boundaries}. "
                    "Use positive values for the arguments."
                )
        self.boundaries = boundaries
        self._boundaries = tuple(sorted(map(float, set(boundaries))))

    def observe(self, value: float, tags: Tags | None = None) -> None:
        """Count a value.

        Args:
            value: What was seen; not NaN, which would spoil the sum for ever.
            tags: Values of tags.

        Raises:
            TypeError: If it is no number, or a tag no string.
            ValueError: If it is NaN, or a tag is missing.
        """
        _number(value)
        if value != value:
            raise ValueError(f"value must be a number, got {value}")
        series = self._of(tags)
        if not self._discarded:
            series.observe(bisect_left(self._boundaries, value), value)

    @property
    def info(self) -> dict[str, Any]:
        """As of every metric, and the boundaries."""
        return {**super().info, "boundaries": self.boundaries}


def exposition() -> str:
    """All metrics of the session in Prometheus's text format.

    Names begin with `ray_`, as for Ray's exporter. Counters and histograms are summed over all
    processes, also those that have ended.

    Returns:
        The text; empty if nothing was recorded.

    Example:
        >>> from heliostat.util.metrics import Gauge, exposition
        >>> Gauge("answer", "The answer.").set(42)
        >>> "# TYPE ray_answer gauge" in exposition()
        True
    """
    families: dict[str, list[dict[str, Any]]] = {}
    for row in records("metrics"):
        families.setdefault(_family(row), []).append(row)
    lines = [line for name in sorted(families) for line in _lines(name, families[name])]
    return "".join(f"{line}\n" for line in lines)


def _family(row: Mapping[str, Any]) -> str:
    name: str = f"ray_{row['name']}"
    return f"{name}_total" if row["kind"] == "counter" and not name.endswith("_total") else name


def _lines(name: str, rows: list[dict[str, Any]]) -> Iterable[str]:
    kind, boundaries = rows[0]["kind"], rows[0]["boundaries"]
    yield f"# HELP {name} {_escaped(rows[0]['description'])}"
    yield f"# TYPE {name} {kind}"
    merged: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for row in rows:
        if (row["kind"], row["boundaries"]) != (kind, boundaries):
            yield f"# {name} is also recorded as another kind, or with other boundaries: left out"
            continue
        tags = {_label(key): value for key, value in row["tags"].items()}
        if row["worker_id"] is not None:
            tags["WorkerId"] = row["worker_id"]
        sums = merged.setdefault(tuple(sorted(tags.items())), [0.0] * len(row["values"]))
        for index, value in enumerate(row["values"]):
            sums[index] += value
    for pairs, values in sorted(merged.items()):
        if kind == "histogram":
            yield from _histogram(name, pairs, boundaries, values)
        else:
            yield f"{name}{_labels(pairs)} {_value(values[0])}"


def _histogram(
    name: str, pairs: tuple[tuple[str, str], ...], boundaries: Iterable[float], values: list[float]
) -> Iterable[str]:
    count = 0.0
    for boundary, inside in zip([*boundaries, float("inf")], values[:-1], strict=True):
        count += inside
        yield f"{name}_bucket{_labels((*pairs, ('le', _value(boundary))))} {_value(count)}"
    yield f"{name}_sum{_labels(pairs)} {_value(values[-1])}"
    yield f"{name}_count{_labels(pairs)} {_value(count)}"


def _label(key: str) -> str:
    """A name of a tag that Prometheus takes."""
    plain = re.sub(r"[^a-zA-Z0-9_]", "_", key)
    return plain if _LABEL.fullmatch(plain) else f"_{plain}"


def _labels(pairs: Iterable[tuple[str, str]]) -> str:
    inside = ",".join(f'{key}="{_escaped(value, quotes=True)}"' for key, value in pairs)
    return f"{{{inside}}}" if inside else ""


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _value(number: float) -> str:
    if number == float("inf"):
        return "+Inf"
    if number == float("-inf"):
        return "-Inf"
    return "NaN" if number != number else repr(float(number))
