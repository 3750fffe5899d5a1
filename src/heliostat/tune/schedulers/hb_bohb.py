"""HyperBandForBOHB: HyperBand that begins with the widest bracket, as BOHB's searcher wants it."""

from heliostat.tune.schedulers.hyperband import HyperBandScheduler


class HyperBandForBOHB(HyperBandScheduler):
    """HyperBand for `TuneBOHB`: many short trials first.

    Args:
        time_attr: The metric that counts the age; whole numbers.
        metric: What to compare; usually left to `TuneConfig`.
        mode: "min" or "max"; usually left to `TuneConfig`.
        max_t: The age at which trials end.
        reduction_factor: One of so many goes on at each milestone.
        stop_last_trials: Whether those that are left end at `max_t`.

    Raises:
        ValueError: A value out of range.

    Example:
        >>> HyperBandForBOHB(metric="loss", mode="min", max_t=9).plan()
        [(9, 1), (5, 3), (3, 9)]
    """

    def _plan(self) -> list[tuple[int, int, int]]:
        return list(reversed(super()._plan()))
