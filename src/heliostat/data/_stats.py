"""What ran, how long, how much: counters of one execution and how they are told."""

from dataclasses import dataclass, field


@dataclass
class StageStats:
    """What one stage has done so far."""

    name: str
    place: str
    tasks: int = 0
    retries: int = 0
    rows_in: int = 0
    rows_out: int = 0
    bytes_out: int = 0
    busy_s: float = 0.0
    failed: int = 0


@dataclass
class Stats:
    """What one execution did, its stages in order."""

    stages: list[StageStats] = field(default_factory=list)
    wall_s: float = 0.0

    def __str__(self) -> str:
        if not self.stages:
            return "Nothing was run: the rows are there already."
        lines = []
        for number, stage in enumerate(self.stages):
            lines.append(
                f"Stage {number} {stage.name}: {stage.tasks} tasks {stage.place}, "
                f"{stage.rows_out:,} rows, {_bytes(stage.bytes_out)}, busy {stage.busy_s:.3f} s"
                + (f", {stage.retries} retries" if stage.retries else "")
                + (f", {stage.failed} rows failed" if stage.failed else "")
            )
        rows = self.stages[-1].rows_out
        rate = f" ({rows / self.wall_s:,.0f} rows/s)" if self.wall_s > 0 and rows else ""
        lines.append(f"Total: {rows:,} rows in {self.wall_s:.3f} s{rate}")
        return "\n".join(lines)


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
