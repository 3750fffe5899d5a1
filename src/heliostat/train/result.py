"""Result: what came out of a training, in memory or read back from its directory."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from heliostat.train import _written
from heliostat.train._storage import kept_checkpoints, of_rank, read_log_of
from heliostat.train.checkpoint import Checkpoint, local_filesystem, locate
from heliostat.train.error import TrainingFailedError
from heliostat.util._html import table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Result"]


@dataclass
class Result:
    """What came out of a training.

    Args:
        metrics: What rank 0 reported last; None if nothing was reported.
        checkpoint: The latest checkpoint; None if there is none.
        error: Why it failed; None if it did not.
        path: The run's directory.
        best_checkpoints: Every checkpoint that was kept with its metrics, oldest first.
        config: What the loop was given.
        return_value: What rank 0's loop returned.
        history: The metrics of every report, oldest first.
        storage_filesystem: The pyarrow file system that `path` is on; None for this machine's.

    Example:
        >>> Result(metrics={"loss": 0.5}, checkpoint=None, error=None, path="/tmp/run").metrics
        {'loss': 0.5}
    """

    metrics: dict[str, Any] | None
    checkpoint: Checkpoint | None
    error: Exception | None
    path: str
    best_checkpoints: list[tuple[Checkpoint, dict[str, Any]]] | None = None
    config: dict[str, Any] | None = None
    return_value: Any = None
    history: list[dict[str, Any]] = field(default_factory=list, repr=False)
    storage_filesystem: Any = field(default=None, repr=False)

    def _repr_html_(self) -> str:
        """Its parts as a table, for a notebook."""
        parts = {
            **(self.metrics or {}),
            **{f"config/{k}": v for k, v in (self.config or {}).items()},
        }
        parts.pop("config", None)
        parts |= {"checkpoint": self.checkpoint and self.checkpoint.path, "path": self.path}
        if self.error is not None:
            parts["error"] = repr(self.error)
        return table([("Result", ""), *parts.items()])

    @cached_property
    def metrics_dataframe(self) -> pd.DataFrame:
        """Every report's metrics, a row each; `outer/inner` is a value in a dict.

        Example:
            >>> result = Result(None, None, None, "/tmp/run", history=[{"loss": 2.0}, {"loss": 1.0}])
            >>> list(result.metrics_dataframe["loss"])
            [2.0, 1.0]
        """
        import pandas as pd  # noqa: PLC0415 - optional and slow to load

        return pd.json_normalize(self.history, sep="/")

    @property
    def filesystem(self) -> Any:
        """The pyarrow file system that `path` is on."""
        return local_filesystem() if self.storage_filesystem is None else self.storage_filesystem

    def get_best_checkpoint(self, metric: str, mode: str) -> Checkpoint | None:
        """The kept checkpoint whose metric is best.

        Args:
            metric: The metric's name.
            mode: "max" if more is better, "min" if less is.

        Returns:
            The checkpoint, or None if none was kept.

        Raises:
            ValueError: If `mode` is another.
            RuntimeError: If no kept checkpoint has the metric.

        Example:
            >>> a, b = Checkpoint("/tmp/a"), Checkpoint("/tmp/b")
            >>> kept = [(a, {"loss": 2.0}), (b, {"loss": 1.0})]
            >>> Result(None, b, None, "/tmp/run", kept).get_best_checkpoint("loss", "min").path
            '/tmp/b'
        """
        if mode not in ("max", "min"):
            raise ValueError(f"mode must be 'max' or 'min', got {mode!r}")
        if not self.best_checkpoints:
            return None
        # NaN is never best: it compares unequal to itself.
        scored = [
            (m[metric], c)
            for c, m in self.best_checkpoints
            if metric in m and m[metric] == m[metric]
        ]
        if not scored:
            known = sorted({name for _, metrics in self.best_checkpoints for name in metrics})
            raise RuntimeError(
                f"no kept checkpoint has a number for the metric {metric!r}; "
                f"there are: {', '.join(known) or 'none'}"
            )
        pick = max if mode == "max" else min
        return pick(scored, key=lambda pair: pair[0])[1]

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> Result:
        """Read back the result of a run, finished or not, from its directory.

        A trial of Tune has such a directory too. What Ray Train and Ray Tune have written is read as
        far as it is plain files: metrics, checkpoints, a trial's configuration and the text of its
        error.

        Args:
            path: The run's or trial's directory, as in `Result.path`, or its address.
            storage_filesystem: The file system that it is on, as in `Result.filesystem`; None
                for what the address says.

        Returns:
            The result, as far as the run has come.

        Raises:
            FileNotFoundError: If neither a run nor a trial has written there.

        Example:
            >>> Result.from_path("/tmp/no-such-run")
            Traceback (most recent call last):
            FileNotFoundError: no run has written to /tmp/no-such-run (there is no run.jsonl)
        """
        where, remote = locate("Result.from_path", path, storage_filesystem)
        try:
            return _from_entries(where, remote, read_log_of(where, remote))
        except FileNotFoundError:
            written = _written.read(where, remote)
            if written is None:
                raise
        return _from_files(where, remote, written)


def _from_files(where: str, filesystem: Any, written: _written.Written) -> Result:
    return Result(
        metrics=written.metrics,
        checkpoint=written.latest,
        error=TrainingFailedError(written.error) if written.error else None,
        path=where,
        best_checkpoints=written.kept,
        config=written.config,
        history=written.history,
        storage_filesystem=filesystem,
    )


def _from_entries(where: str, filesystem: Any, entries: list[dict[str, Any]]) -> Result:
    run = of_rank(where, filesystem)
    result = Result(None, None, None, where, storage_filesystem=filesystem)
    kept = [(run.checkpoint(k.name), dict(k.metrics)) for k in kept_checkpoints(entries)]
    if kept:
        result.checkpoint, result.best_checkpoints = kept[-1][0], kept
    for entry in entries:
        if entry["kind"] == "begin":
            result.config = entry["config"]
        elif entry["kind"] == "report":
            result.metrics = entry["metrics"]
            result.history.append(entry["metrics"])
        elif entry["kind"] == "end" and entry["error"]:
            result.error = TrainingFailedError(entry["error"])
    return result
