"""Tables of trials as text. It knows nothing of who reads them, and when."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from heliostat.tune._metrics import look_up, rank, user_metrics
from heliostat.tune._trial import ERROR, TERMINATED, Trial
from heliostat.tune.search import _space

MOST_ROWS = 20
_MOST_METRICS = 4
WIDEST = 28


def summary(
    trials: Sequence[Trial], space: Mapping[str, Any], metric: str | None, mode: str
) -> str:
    """The table of trials, best first when there is a metric; long ones show the best rows only."""
    head, table = summary_rows(trials, parameter_columns(space), metric, mode)
    return f"{head}\n{align(table)}"


def summary_rows(
    trials: Sequence[Trial], parameters: Mapping[Any, str], metric: str | None, mode: str
) -> tuple[str, list[list[str]]]:
    """What `summary` says: a line, and the cells below it."""
    shown = list(trials)
    if metric is not None:
        shown.sort(key=lambda trial: rank(look_up(trial.last_result, metric), mode))
    ended = sum(trial.state == TERMINATED for trial in trials)
    failed = sum(trial.state == ERROR for trial in trials)
    head = f"{len(trials)} trials: {ended} terminated, {failed} failed"
    if len(shown) > MOST_ROWS:
        head += f"; the {'best' if metric else 'first'} {MOST_ROWS}:"
        shown = shown[:MOST_ROWS]
    first = [] if metric is None else [metric]
    metrics = list(dict.fromkeys([*first, *infer_metrics(trials, _MOST_METRICS)]))[:_MOST_METRICS]
    columns = {**parameters, **{("metric", name): name for name in metrics}}
    return head, rows(shown, columns)


def parameter_columns(space: Mapping[str, Any]) -> dict[Any, str]:
    """What a space leaves open, by path, with titles."""
    return {path: "/".join(map(str, path)) for path, _ in _space.open_values(space)}


def infer_metrics(trials: Sequence[Trial], limit: int) -> list[str]:
    """Names of numbers that trials report."""
    names: dict[str, None] = {}
    for trial in trials[:MOST_ROWS]:
        names |= dict.fromkeys(
            name
            for name, value in user_metrics(trial.last_result).items()
            if isinstance(value, int | float)
        )
    return list(names)[:limit]


def rows(
    trials: Sequence[Trial], columns: Mapping[Any, str], widest: int = WIDEST
) -> list[list[str]]:
    """A row of cells for each trial, below their titles.

    Args:
        trials: Which.
        columns: Titles of parameters, by their path in the config, and of metrics, by `("metric", name)`.
        widest: Longer cells are cut.
    """
    parameters = {key: title for key, title in columns.items() if key[:1] != ("metric",)}
    metrics = {key[1]: title for key, title in columns.items() if key[:1] == ("metric",)}
    table = [["trial", "status", *parameters.values(), "iter", "time (s)", *metrics.values()]]
    for trial in trials:
        result = trial.last_result
        cells = [_at(trial.config, path) for path in parameters]
        cells += [result.get("training_iteration", ""), result.get("time_total_s", "")]
        cells += [look_up(result, name) for name in metrics]
        table.append([str(trial), trial.status, *(show(cell, widest) for cell in cells)])
    return table


def _at(config: Any, path: Sequence[Any]) -> Any:
    try:
        for step in path:
            config = config[step]
    except (KeyError, IndexError, TypeError):  # a searcher may leave a value out
        return ""
    return config


def align(table: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text in columns; the first row is the title."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [_pad(row, widths) for row in table]
    return "\n".join([lines[0], _pad(["-" * width for width in widths], widths), *lines[1:]])


def _pad(row: Sequence[str], widths: Iterable[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def show(value: Any, widest: int = WIDEST) -> str:
    """A value in few characters."""
    if value is None:
        return ""
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:
        value = value.item()
    text = f"{value:.5g}" if isinstance(value, float) else str(value)
    return text if len(text) <= widest else text[: widest - 3] + "..."
