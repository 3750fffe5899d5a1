"""Checkpoints that trials other than their own go on from: they stay until nobody needs them.

It counts and names what may be deleted; it deletes nothing.
"""

from collections import Counter
from collections.abc import Mapping

from heliostat.tune._trial import Trial


class Loans:
    """Which checkpoints are lent, and to how many.

    Args:
        trials: All trials of the study, by id; the mapping grows with it.
    """

    def __init__(self, trials: Mapping[str, Trial]) -> None:
        self._trials = trials
        self._lent: Counter[str] = Counter(t.loan for t in trials.values() if t.loan is not None)

    def is_lent(self, path: str) -> bool:
        """Whether some trial goes on from it."""
        return self._lent[path] > 0

    def take_over(self, trial: Trial) -> list[str]:
        """Let a trial go on from what its donor has saved by now; gives what nobody needs any more."""
        if trial.donor is None:
            return []
        before = trial.loan
        trial.take_over(self._trials[trial.donor])
        if trial.loan == before:
            return []
        assert trial.loan is not None
        self._lent[trial.loan] += 1
        return self._return(before)

    def give_back(self, trial: Trial) -> list[str]:
        """A trial has a checkpoint of its own again; gives what nobody needs any more."""
        path, trial.loan = trial.loan, None
        return self._return(path)

    def _return(self, path: str | None) -> list[str]:
        if path is None:
            return []
        self._lent[path] -= 1
        kept = any(path == own for trial in self._trials.values() for own, _ in trial.checkpoints)
        return [] if kept or self._lent[path] else [path]
