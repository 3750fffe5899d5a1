"""ResourceChangingScheduler: gives trials more of the machine as others end.

A trial whose resources change is paused, which saves it, and goes on with the new ones.
"""

from collections.abc import Callable, Mapping
from typing import Any

from heliostat.tune._metrics import look_up, rank
from heliostat.tune._resources import PlacementGroupFactory
from heliostat.tune._trial import PENDING, Trial
from heliostat.tune.schedulers.trial_scheduler import FIFOScheduler, Trials, TrialScheduler
from heliostat.tune.search.searcher import check_mode

Allocate = Callable[
    [Trials, Trial, Mapping[str, Any], "ResourceChangingScheduler"],
    PlacementGroupFactory | Mapping[str, float] | None,
]


class DistributeResources:
    """Shares CPUs and GPUs equally among the trials that are left.

    Args:
        add_bundles: Add bundles of the first one's size instead of making the first one larger.
        increase_by: How much a trial may get at a time, such as `{"CPU": 1}`; by default any amount
            in whole CPUs and GPUs.
        increase_by_times: At most so many times; -1 without end.
        reserve_resources: What is left free for others.

    Raises:
        ValueError: `add_bundles` without `increase_by` of what a bundle has.

    Example:
        >>> DistributeResources(reserve_resources={"CPU": 1}).reserve_resources
        {'CPU': 1}
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: Mapping[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: Mapping[str, float] | None = None,
    ) -> None:
        self.add_bundles = add_bundles
        self.increase_by = dict(increase_by or {})
        self.increase_by_times = increase_by_times
        self.reserve_resources = dict(reserve_resources or {})
        if any(not amount > 0 for amount in self.increase_by.values()):
            raise ValueError(f"increase_by must be amounts over 0, got {increase_by!r}")

    def __call__(
        self,
        tune_controller: Trials,
        trial: Trial,
        result: Mapping[str, Any],
        scheduler: "ResourceChangingScheduler",
    ) -> PlacementGroupFactory | None:
        """What a trial shall have; None for no change."""
        return self.give(tune_controller, trial, self.share(tune_controller, trial))

    def share(self, study: Trials, trial: Trial) -> dict[str, float]:
        """An equal share of what there is, for each resource that may grow."""
        competing = max(1, len(study.get_live_trials()))
        return {
            name: (study.get_capacity().get(name, 0.0) - self.reserve_resources.get(name, 0.0))
            / competing
            for name in ("CPU", "GPU")
        }

    def give(
        self, study: Trials, trial: Trial, share: Mapping[str, float]
    ) -> PlacementGroupFactory:
        """The base of a trial and as many increments as fit into its share."""
        base = base_of(trial)
        first = dict(base.bundles[0]) or dict(base.required_resources)
        step = self.increase_by or {name: 1.0 for name in ("CPU", "GPU") if first.get(name)}
        room = [
            (share.get(name, 0.0) - base.required_resources.get(name, 0.0)) // amount
            for name, amount in step.items()
        ]
        times = max(0, int(min(room, default=0)))
        if self.increase_by_times >= 0:
            times = min(times, self.increase_by_times)
        if self.add_bundles:
            return PlacementGroupFactory([*base.bundles, *([step] * times)], base.strategy)
        grown = {
            name: first.get(name, 0.0) + step.get(name, 0.0) * times for name in {**first, **step}
        }
        return PlacementGroupFactory([grown, *base.bundles[1:]], base.strategy)


class DistributeResourcesToTopJob(DistributeResources):
    """Gives all that is free to the trial that is best so far.

    Args:
        add_bundles: Add bundles of the first one's size instead of making the first one larger.
        increase_by: How much a trial may get at a time.
        increase_by_times: At most so many times; -1 without end.
        reserve_resources: What is left free for others.
        metric: What to compare; that of the scheduler if None.
        mode: "min" or "max"; that of the scheduler if None.

    Raises:
        ValueError: An unknown mode.

    Example:
        >>> DistributeResourcesToTopJob(metric="loss", mode="min").metric
        'loss'
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: Mapping[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: Mapping[str, float] | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(add_bundles, increase_by, increase_by_times, reserve_resources)
        check_mode(mode)
        self.metric = metric
        self.mode = mode

    def __call__(
        self,
        tune_controller: Trials,
        trial: Trial,
        result: Mapping[str, Any],
        scheduler: "ResourceChangingScheduler",
    ) -> PlacementGroupFactory | None:
        """All that is free for the best trial; no change for the others.

        Raises:
            ValueError: There is no metric to compare by.
        """
        metric = self.metric or scheduler.metric
        mode = self.mode or scheduler.mode
        if metric is None or mode is None:
            raise ValueError(
                "DistributeResourcesToTopJob needs a metric and a mode: give them to it or TuneConfig"
            )
        live = [t for t in tune_controller.get_live_trials() if t.last_result]
        best = min(live, key=lambda t: rank(look_up(t.last_result, metric), mode), default=None)
        if best is not trial:
            return None
        capacity = tune_controller.get_capacity()
        others = [t for t in tune_controller.get_live_trials() if t is not trial]
        share = {
            name: capacity.get(name, 0.0)
            - self.reserve_resources.get(name, 0.0)
            - sum(other.resources.get(name, 0.0) for other in others)
            for name in ("CPU", "GPU")
        }
        return self.give(tune_controller, trial, share)


class ResourceChangingScheduler(TrialScheduler):
    """Asks after each report whether the trial shall have other resources; another scheduler judges.

    Args:
        base_scheduler: Who judges the trials; nobody if None.
        resources_allocation_function: Takes the study, the trial, the report and this scheduler, and
            returns a dict of resources, a PlacementGroupFactory, or None for no change.

    Raises:
        TypeError: The function is none.

    Example:
        >>> ResourceChangingScheduler().debug_string()
        'Using ResourceChangingScheduler over FIFOScheduler.'
    """

    def __init__(
        self,
        base_scheduler: TrialScheduler | None = None,
        resources_allocation_function: Allocate | None = DistributeResources(),  # noqa: B008 - a value
    ) -> None:
        super().__init__()
        if resources_allocation_function is not None and not callable(
            resources_allocation_function
        ):
            raise TypeError(
                f"resources_allocation_function must be a function, got "
                f"{resources_allocation_function!r}"
            )
        self._base = base_scheduler or FIFOScheduler()
        self._allocate = resources_allocation_function

    @property
    def metric(self) -> str | None:
        """The metric that the scheduler inside looks at."""
        return self._base.metric or self._metric

    @property
    def mode(self) -> str | None:
        """Which direction is better."""
        return self._base.mode or self._mode

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Hear what the study is about, and tell the scheduler inside."""
        super().set_search_properties(metric, mode, **spec)
        return self._base.set_search_properties(metric, mode, **spec)

    def on_trial_add(self, tune_controller: Trials, trial: Trial) -> None:
        """Tell the scheduler inside."""
        self._base.on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: Trials, trial: Trial) -> None:
        """Tell the scheduler inside."""
        self._base.on_trial_error(tune_controller, trial)

    def on_trial_result(
        self, tune_controller: Trials, trial: Trial, result: Mapping[str, Any]
    ) -> str:
        """The verdict of the scheduler inside; a trial that goes on may get other resources.

        Raises:
            TypeError: The function returned something else.
        """
        verdict = self._base.on_trial_result(tune_controller, trial, result)
        if verdict not in (self.CONTINUE, self.SAVE, self.PAUSE) or self._allocate is None:
            return verdict
        if any(t.status == PENDING for t in tune_controller.get_live_trials()):
            return verdict  # who has not begun comes first
        asked = self._allocate(tune_controller, trial, result, self)
        if asked is None:
            return verdict
        request = asked if isinstance(asked, PlacementGroupFactory) else _parse(asked)
        total = request.required_resources
        if total == dict(trial.resources):
            return verdict
        base_of(trial)
        tune_controller.set_resources(trial, request, total)
        return self.PAUSE

    def on_trial_complete(
        self, tune_controller: Trials, trial: Trial, result: Mapping[str, Any]
    ) -> None:
        """Tell the scheduler inside."""
        self._base.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Trials, trial: Trial) -> None:
        """Tell the scheduler inside."""
        self._base.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Trials) -> Trial | None:
        """What the scheduler inside chooses."""
        return self._base.choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        """Who judges."""
        return f"Using ResourceChangingScheduler over {type(self._base).__name__}."


def base_of(trial: Trial) -> PlacementGroupFactory:
    """What a trial asked for in the beginning."""
    if trial.base is None:
        trial.base = PlacementGroupFactory([dict(trial.resources)])
    base: PlacementGroupFactory = trial.base
    return base


def _parse(asked: Any) -> PlacementGroupFactory:
    if not isinstance(asked, Mapping):
        raise TypeError(
            f"the resources_allocation_function must return a dict, a PlacementGroupFactory or None, "
            f"got {asked!r}"
        )
    return PlacementGroupFactory([asked])
