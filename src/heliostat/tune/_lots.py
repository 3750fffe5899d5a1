"""Lots: short trials that run one after the other in one place, without a word from the study in between.

A trial that takes a millisecond must not wait for a message before it and one after it. How many go
together follows from how long the last ones took. It decides sizes and keeps who comes after whom; it
starts nothing.
"""

from collections import deque
from collections.abc import Iterable

from heliostat.tune._trial import Trial

# A lot is as long as takes about this time: reports are late by no more.
SPAN_S = 0.03
MOST = 100


class Lots:
    """Who runs after whom in the same place, and how many may."""

    def __init__(self) -> None:
        # By id of the trial that runs: those after it, when its lot began, how many there were.
        self._after: dict[str, tuple[deque[Trial] | None, float, int]] = {}
        self._size = 1
        self._alone: set[str] = set()

    def size(self, first: Trial) -> int:
        """How many trials may go together, the first among them."""
        return 1 if first.trial_id in self._alone or first.attempt > 1 else self._size

    def fits(self, first: Trial, other: Trial) -> bool:
        """Whether a trial may run in the place of another: one that has never run and needs the same."""
        return (
            other.attempt == 0
            and other.trial_id not in self._alone
            and (other.resources is first.resources or other.resources == first.resources)
            and (other.base is first.base or other.base == first.base)
            and other.request is None
            and first.request is None
        )

    def begin(self, first: Trial, then: Iterable[Trial], now: float) -> None:
        """A lot begins."""
        after = deque(then)
        self._after[first.trial_id] = (after, now, 1 + len(after))

    def pass_on(self, trial: Trial, now: float) -> Trial | None:
        """A trial ended well.

        Returns:
            The one that has its place from now on; None after the last of a lot.
        """
        after, began, count = self._after.pop(trial.trial_id, (None, now, 0))
        if after:
            successor = after.popleft()
            self._after[successor.trial_id] = (after, began, count)
            return successor
        if count:
            fit = int(SPAN_S * count / max(now - began, 1e-6))
            self._size = max(1, min(fit, 2 * count, MOST))
        return None

    def take_back(self, trial: Trial) -> list[Trial]:
        """Those who were to run after a trial do not.

        Returns:
            They, in their order.
        """
        after, *_ = self._after.pop(trial.trial_id, (None, 0.0, 0))
        if after:  # it takes too long, or failed
            self._size = 1
        return list(after or ())

    def part(self, trials: Iterable[Trial]) -> None:
        """Let each of these run with no other behind it from now on."""
        self._alone.update(trial.trial_id for trial in trials)

    def get_trials(self) -> list[Trial]:
        """All that are lined up behind others."""
        return [trial for after, *_ in self._after.values() for trial in after or ()]
