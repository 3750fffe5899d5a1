"""Experiment: event in, commands out; which trial starts, goes on, stops, and what is kept.

It asks the searcher for configs, the scheduler and the stopper for verdicts, and admits trials by
resources. It does not know of actors, files or the clock.
"""

import math
from collections import Counter, deque
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from heliostat.tune import _messages as m
from heliostat.tune._loans import Loans
from heliostat.tune._metrics import look_up, user_metrics
from heliostat.tune._study import Study
from heliostat.tune._trial import (
    EPSILON,
    ERROR,
    PAUSED,
    PAUSING,
    PENDING,
    RUNNING,
    SAVING,
    STOPPING,
    TERMINATED,
    Lots,
    Trial,
    check_fits,
)
from heliostat.tune.error import TuneError
from heliostat.tune.schedulers import TrialScheduler
from heliostat.tune.search import Searcher, _space
from heliostat.tune.stopper import Stopper

_GOES_ON = (TrialScheduler.CONTINUE, TrialScheduler.NOOP)


class Experiment:
    """Decides about the trials of one study.

    Args:
        study: What is fixed.
        searcher: Proposes configs; knows the space already.
        scheduler: Judges reports; None: nobody does, and trials run in the order proposed.
        stopper: Ends trials, or the study; None: nobody does.
        trials: Trials of an earlier run, for a study that is taken up again; searcher, scheduler
            and stopper know them.
    """

    def __init__(
        self,
        study: Study,
        searcher: Searcher,
        scheduler: TrialScheduler | None = None,
        stopper: Stopper | None = None,
        trials: list[Trial] | None = None,
    ) -> None:
        self.study = study
        self.failure: BaseException | None = None
        self._searcher, self._scheduler, self._stopper = searcher, scheduler, stopper
        self._trials: dict[str, Trial] = {trial.trial_id: trial for trial in trials or []}
        self._order = list(self._trials.values())
        # Failed attempts go to the front, paused trials to the back.
        self._waiting = deque(t for t in self._trials.values() if t.state in (PENDING, PAUSED))
        self._live: dict[str, Trial] = {}
        self._used: dict[str, float] = {}
        self._last_request: dict[str, float] = {}
        # No more proposals; and, when stopped, no more attempts either.
        self._closed = self._stopped = False
        self._cut: set[str] = set()  # who an interrupt ended
        self._deadline: float | None = None
        # Whether any trial has reported the metric; if not, it may be the name of none.
        self._metric_is_known = study.metric is None or any(map(self._has_metric, self._order))
        self._lots = Lots()
        self._out: list[m.Command] = []  # those of now, for what a scheduler asks for meanwhile
        self._counts = Counter(trial.state for trial in self._order if trial.is_finished())
        # Whether what a trial reports may end it, so that it has to wait for the verdict.
        self.lockstep = any(one is not None and one.decides for one in (scheduler, stopper))

    @cached_property
    def _loans(self) -> Loans:
        """Made for the first trial that goes on from another's checkpoint; few studies have one."""
        return Loans(self._trials)

    @property
    def finished(self) -> bool:
        """No trial runs or waits, and there will be no more."""
        return self._closed and not self._live and not self._waiting

    @property
    def deadline(self) -> float | None:
        """When the time budget ends; a `Tick` is due then. None without one, or once it is over."""
        return self._deadline

    @property
    def running(self) -> int:
        """How many trials run."""
        return len(self._live)

    @property
    def ended(self) -> int:
        """How many trials ended, well or not."""
        return self._counts.total()

    @property
    def failed(self) -> int:
        """How many trials ended in error."""
        return self._counts[ERROR]

    @property
    def total(self) -> float | None:
        """How many trials there will be, as far as known."""
        total = self._searcher.total_samples
        return self.study.limit if total is None else total

    def get_trials(self) -> list[Trial]:
        """All trials so far, in the order proposed. Not to be changed: it is the one list."""
        return self._order

    def get_trial(self, trial_id: str) -> Trial:
        """One of them."""
        return self._trials[trial_id]

    def get_waiting_trials(self) -> list[Trial]:
        """Those that may run now, pending ones before paused ones."""
        return sorted(self._waiting, key=lambda trial: trial.state == PAUSED)

    def get_live_trials(self) -> list[Trial]:
        """Those that have not ended."""
        return [trial for trial in self._order if not trial.is_finished()]

    def get_capacity(self) -> Mapping[str, float]:
        """The resources of the cluster."""
        return self.study.capacity

    def stop_trial(self, trial: Trial) -> None:
        """End a trial, for a scheduler: one that waits ends at once, one that runs is told to."""
        if trial in self._waiting:
            self._waiting.remove(trial)
            self._complete(trial, self._out)
        elif trial.state in (RUNNING, SAVING):
            trial.move(STOPPING, "scheduler")
            self._out.append(m.Stop(trial.trial_id))
        elif trial.state == PAUSING:
            trial.move(STOPPING, "scheduler")

    def exploit(self, trial: Trial, exploit: m.Exploit) -> None:
        """Let the next attempt of a trial have another configuration, from a donor's checkpoint.

        Args:
            trial: One that waits, or that is about to be paused.
            exploit: Its new configuration.
        """
        trial.config, trial.experiment_tag = exploit.config, exploit.tag
        trial.donor = exploit.donor
        if self._trials[exploit.donor].state not in (SAVING, PAUSING):
            self._out.extend(map(m.Delete, self._loans.take_over(trial)))
        loan = trial.loan if trial.donor is None else None
        self._out.append(m.Snapshot("exploit", trial, checkpoint=loan, exploit=exploit))

    def set_resources(self, trial: Trial, request: Any, total: Mapping[str, float]) -> None:
        """Let the next attempt of a trial have other resources; for one that is about to be paused.

        Args:
            trial: The trial.
            request: The resources in bundles.
            total: Their sum.
        """
        check_fits(total, self.study.capacity, f"trial {trial}")
        trial.request = request

    def handle(self, event: m.Event, now: float) -> list[m.Command]:
        """Take note of an event and say what to do about it.

        Args:
            event: What happened.
            now: Monotonic seconds.

        Returns:
            Commands, to be performed in order.

        Raises:
            TuneError: A trial can never fit, or the searcher does what it must not.
        """
        out = self._out = []
        match event:
            case m.Interrupted():
                under_way = [one for one in self._live.values() if one.state != STOPPING]
                under_way += (*self._waiting, *self._lots.get_trials())
                self._cut |= {one.trial_id for one in under_way}
                self._stop_all("interrupted", out)
            case m.Tick():
                if self._deadline is None and not self._stopped and self.study.time_budget_s:
                    self._deadline = now + self.study.time_budget_s
            case m.Reported():
                self._check_time(now, out)  # before the trial is told to go on
                self._on_news(event, now, out)
            case m.Together():
                for one in event.events:
                    self._on_news(one, now, out)
            case m.TrialDone() | m.TrialLost() | m.Saved() | m.Returned():
                self._on_news(event, now, out)
        self._check_time(now, out)
        self._admit(now, out)
        return out

    def fail(self, error: BaseException, out: list[m.Command]) -> None:
        """End the study with an error of its own; the trials under way are stopped."""
        self.failure = self.failure or error
        self._stop_all("study failed", out)

    def _check_time(self, now: float, out: list[m.Command]) -> None:
        if self._deadline is not None and now >= self._deadline:
            self._stop_all("time budget", out)

    def _on_news(self, event: m.News, now: float, out: list[m.Command]) -> None:
        trial = self._live.get(event.trial_id)
        if trial is None or trial.attempt != event.attempt:
            return  # late news of an attempt that is over
        match event:
            case m.Reported():
                self._on_reported(trial, event.reports, out)
            case m.Saved():
                self._on_saved(trial, event.path, out)
            case m.TrialDone():
                self._on_done(trial, event, out)
            case m.TrialLost():
                self._on_lost(trial, event.error, out)
            case m.Returned():
                self._take_back(trial)
        if trial.trial_id not in self._live:
            self._vacate(trial, now, out)

    # Reports.

    def _on_reported(self, trial: Trial, reports: list[m.Report], out: list[m.Command]) -> None:
        verdict = TrialScheduler.CONTINUE
        for report in reports:
            said = self._judge(trial, report, out)
            verdict = said if verdict in _GOES_ON else verdict
        if trial.state != RUNNING:
            return  # told to stop already, by this report or before
        match verdict:
            case TrialScheduler.STOP:
                trial.move(STOPPING, "verdict")
                out.append(m.Stop(trial.trial_id))
            case TrialScheduler.PAUSE:
                trial.move(PAUSING, "verdict")
                out.append(m.Pause(trial.trial_id, save=not _is_replaced(trial, out)))
            case TrialScheduler.SAVE:
                trial.move(SAVING, "verdict")
                out.append(m.Save(trial.trial_id))
            case TrialScheduler.CONTINUE | TrialScheduler.NOOP:
                out.append(m.Continue(trial.trial_id, self._next_turn(trial)))
            case _:
                scheduler = type(self._scheduler).__name__
                self.fail(
                    TuneError(
                        f"{scheduler}.on_trial_result returned {verdict!r} for trial {trial}; it "
                        'must be "CONTINUE", "PAUSE" or "STOP"'
                    ),
                    out,
                )

    def _judge(self, trial: Trial, report: m.Report, out: list[m.Command]) -> str:
        result = report.metrics
        trial.last_result = result
        self._metric_is_known = self._metric_is_known or self._has_metric(trial)
        self._searcher.on_trial_result(trial.trial_id, result)
        # One record for both: a kill must not come between a report and its checkpoint.
        out.append(m.Snapshot("result", trial, result, report.checkpoint))
        if report.checkpoint is not None:
            self._keep(trial, report.checkpoint, result, out)
        scheduler, stopper = self._scheduler, self._stopper
        verdict = TrialScheduler.CONTINUE
        if stopper is not None and stopper(trial.trial_id, result):
            verdict = TrialScheduler.STOP
        elif scheduler is not None and not result.get("done"):  # else it hears of the end alone
            verdict = scheduler.on_trial_result(self, trial, result)
        if stopper is not None and stopper.decides and stopper.stop_all():
            self._stop_all("stopper", out)
        return verdict

    def _next_turn(self, trial: Trial) -> float:
        """The iteration whose report must wait for its verdict."""
        if not self.lockstep:
            return math.inf
        scheduler, stopper = self._scheduler, self._stopper
        iteration = trial.last_result.get("training_iteration", 0)
        stop = math.inf if stopper is None else stopper.next_turn(trial.trial_id, iteration)
        return stop if scheduler is None else min(stop, scheduler.next_turn(trial))

    def _keep(self, trial: Trial, path: str, result: dict[str, Any], out: list[m.Command]) -> None:
        trial.keep(path, result)
        if trial.loan is not None:
            out.extend(map(m.Delete, self._loans.give_back(trial)))
        study = self.study
        if study.keep is None or len(trial.checkpoints) <= study.keep:
            return
        # The newest stays whatever its score: it is what a failed trial goes on from.
        worst = min(trial.checkpoints[:-1] or trial.checkpoints, key=self._worth)
        trial.checkpoints.remove(worst)
        if worst[0] != trial.resume_from and not self._loans.is_lent(worst[0]):
            out.append(m.Delete(worst[0]))

    def _keep_unreported(self, trial: Trial, path: str, out: list[m.Command]) -> None:
        out.append(m.Snapshot("checkpoint", trial, trial.last_result, path))
        self._keep(trial, path, trial.last_result, out)

    def _on_saved(self, trial: Trial, path: str | None, out: list[m.Command]) -> None:
        if path is not None:
            self._keep_unreported(trial, path, out)
        if trial.state == SAVING:
            trial.move(RUNNING, "saved")
            out.append(m.Continue(trial.trial_id, self._next_turn(trial)))

    def _worth(self, kept: tuple[str, dict[str, Any]]) -> float:
        if self.study.keep_by is None:
            return 0.0  # min() takes the first of equals: the oldest
        value = look_up(kept[1], self.study.keep_by)
        if not isinstance(value, int | float) or value != value:
            return float("-inf")
        return value if self.study.keep_mode == "max" else -value

    # Ends.

    def _on_done(self, trial: Trial, event: m.TrialDone, out: list[m.Command]) -> None:
        for report in event.reports:
            self._judge(trial, report, out)
        if event.error is not None and trial.state != STOPPING:
            self._on_failed(trial, event.error, out)
            return
        if event.saved is not None:
            self._keep_unreported(trial, event.saved, out)
        self._release(trial)
        if trial.state == PAUSING:
            trial.move(PAUSED, "done")
            out.append(m.Snapshot("pause", trial))
            self._waiting.append(trial)
            return
        by_itself = trial.state == RUNNING
        self._complete(trial, out)
        if by_itself and trial.last_result and not self._metric_is_known:
            self.fail(self._no_metric(trial), out)

    def _has_metric(self, trial: Trial) -> bool:
        return str(self.study.metric) in {**trial.last_result, **user_metrics(trial.last_result)}

    def _complete(self, trial: Trial, out: list[m.Command]) -> None:
        trial.move(TERMINATED, "done")
        if trial.last_result:
            trial.last_result["done"] = True
            trial.share()
        self._counts[TERMINATED] += 1
        self._searcher.on_trial_complete(trial.trial_id, trial.last_result or None)
        if self._scheduler is not None:
            self._scheduler.on_trial_complete(self, trial, trial.last_result)
        out.append(m.Snapshot("interrupt" if trial.trial_id in self._cut else "complete", trial))

    def _no_metric(self, trial: Trial) -> TuneError:
        reported = ", ".join(map(repr, user_metrics(trial.last_result))) or "none of its own"
        return TuneError(
            f"trial {trial} ended without reporting {self.study.metric!r}, the metric of TuneConfig; "
            f"the metrics it reported: {reported}. Report that one, or name one of these"
        )

    def _on_lost(self, trial: Trial, error: BaseException, out: list[m.Command]) -> None:
        suspects = [trial, *self._take_back(trial)]
        if len(suspects) == 1 or trial.state != RUNNING:
            self._on_failed(trial, error, out)
            return
        # Which of them ended the process nobody knows: each runs again, with no other behind it.
        self._lots.part(suspects)
        self._release(trial)
        trial.move(PENDING, "lost with others")
        self._waiting.appendleft(trial)

    def _on_failed(self, trial: Trial, error: BaseException, out: list[m.Command]) -> None:
        if trial.state == STOPPING:  # its process was ended on purpose
            self._release(trial)
            self._complete(trial, out)
            return
        self._release(trial)
        trial.error = error
        trial.num_failures += 1
        tries = self.study.max_failures
        if not self._stopped and (tries < 0 or trial.num_failures <= tries):
            trial.move(PENDING, "failed, tries again")
            out.append(m.Snapshot("retry", trial, error=error))
            self._waiting.appendleft(trial)
            return
        trial.move(ERROR, "failed")
        self._counts[ERROR] += 1
        self._searcher.on_trial_complete(trial.trial_id, trial.last_result or None, error=True)
        if self._scheduler is not None:
            self._scheduler.on_trial_error(self, trial)
        out.append(m.Snapshot("error", trial, error=error))
        if self.study.fail_fast:
            self._stop_all("fail_fast", out)

    def _stop_all(self, why: str, out: list[m.Command]) -> None:
        self._closed = self._stopped = True
        self._deadline = None
        for trial in self._live.values():
            if trial.state in (RUNNING, SAVING):
                out.append(m.Stop(trial.trial_id))
            if trial.state != STOPPING:  # one that pauses is on its way out already
                trial.move(STOPPING, why)
        for trial in (*self._lots.end(), *self._waiting):
            if self._scheduler is not None:
                self._scheduler.on_trial_remove(self, trial)
            self._complete(trial, out)
        self._waiting.clear()

    # Admission.

    def _admit(self, now: float, out: list[m.Command]) -> None:
        while trial := self._next_trial(out):
            if not self._has_room(trial):
                return
            self._waiting.remove(trial)
            if trial.donor is not None:
                out.extend(map(m.Delete, self._loans.take_over(trial)))
            self._begin(trial, out)
            then = self._line_up(trial, out)
            self._lots.begin(trial, then, now)
            out.append(m.Start(trial, self._next_turn(trial), then))

    def _begin(self, trial: Trial, out: list[m.Command]) -> None:
        self._live[trial.trial_id] = trial
        for name, amount in trial.resources.items():
            self._used[name] = self._used.get(name, 0.0) + amount
        trial.attempt += 1
        trial.error = None
        trial.move(RUNNING, f"attempt {trial.attempt}")
        out.append(m.Snapshot("start", trial))

    # Short trials run one after the other in one place, without a word from us in between.

    def _line_up(self, first: Trial, out: list[m.Command]) -> tuple[Trial, ...]:
        """Trials to run after one, in its place; they wait no longer, and are not begun."""
        then: list[Trial] = []
        room = self._lots.size(first) - 1 if self.study.ahead and not self.lockstep else 0
        while len(then) < room:
            if not self._waiting:
                self._propose(out)
            if not self._waiting or not self._lots.fits(first, self._waiting[0]):
                break
            then.append(self._waiting.popleft())
        return tuple(then)

    def _vacate(self, trial: Trial, now: float, out: list[m.Command]) -> None:
        """A trial's place is free: whoever was to run there after it does so already."""
        after = self._lots.pass_on(trial, now) if trial.state == TERMINATED else None
        if after is not None:
            self._begin(after, out)
        else:
            self._take_back(trial)

    def _take_back(self, trial: Trial) -> list[Trial]:
        """Let those who were to run after a trial wait again."""
        then = self._lots.take_back(trial)
        self._waiting.extendleft(reversed(then))
        return then

    def _next_trial(self, out: list[m.Command]) -> Trial | None:
        if self.study.max_concurrent and len(self._live) >= self.study.max_concurrent:
            return None
        scheduler = self._scheduler
        if self._waiting and (scheduler is None or not scheduler.decides):
            return self._waiting[0]
        if not any(trial.state == PENDING for trial in self._waiting):
            self._propose(out)
        if not self._waiting:
            return None
        chosen = self._waiting[0] if scheduler is None else scheduler.choose_trial_to_run(self)
        if chosen is None and not self._live:
            self.fail(
                TuneError(
                    f"{type(scheduler).__name__} lets none of the {len(self._waiting)} waiting "
                    "trials run and no trial is running: the study would wait for ever"
                ),
                out,
            )
        return chosen

    def _propose(self, out: list[m.Command]) -> None:
        """Ask the searcher for one more trial and let it wait for room."""
        if self._closed:
            return
        if self.study.limit is not None and len(self._trials) >= self.study.limit:
            self._closed = True
            return
        index = len(self._trials)
        trial_id = f"{self.study.id_prefix}_{index:05d}"
        suggestion = self._searcher.suggest(trial_id)
        if suggestion == Searcher.FINISHED:
            self._closed = True
            return
        if suggestion is None:
            if not self._live and not self._waiting:
                raise TuneError(
                    f"{type(self._searcher).__name__}.suggest({trial_id!r}) returned None while no "
                    "trial is running: the study would wait for ever; return Searcher.FINISHED "
                    "when there is nothing more to try"
                )
            return
        trial = self._make(trial_id, index, suggestion)
        self._trials[trial_id] = trial
        self._order.append(trial)
        self._waiting.append(trial)
        if self._scheduler is not None:
            self._scheduler.on_trial_add(self, trial)
        out.append(m.Snapshot("add", trial))

    def _make(self, trial_id: str, index: int, suggestion: Any) -> Trial:
        searcher = type(self._searcher).__name__
        if not isinstance(suggestion, Mapping):
            raise TuneError(
                f"{searcher}.suggest({trial_id!r}) returned {suggestion!r}; it must be a dict of "
                "parameters, None or Searcher.FINISHED"
            )
        config = _space.preset(self.study.space, suggestion)
        left = ["/".join(map(str, path)) for path, _ in _space.open_values(config)]
        if left:
            raise TuneError(
                f"{searcher}.suggest({trial_id!r}) left parts of param_space open: "
                f"{', '.join(left)}; give them fixed values or let the searcher propose them"
            )
        chosen = _space.tag(self.study.space, config)
        request = self.study.request(config)
        check_fits(request, self.study.capacity, f"a trial of {self.study.trainable_name}")
        return self.study.create(
            Trial(
                trial_id=trial_id,
                trainable_name=self.study.trainable_name,
                config=config,
                experiment_tag=f"{index}_{chosen}" if chosen else str(index),
                path="",
                resources=self._shared(request),
            )
        )

    def _shared(self, request: Mapping[str, float]) -> Mapping[str, float]:
        """The last request again, if this one is the same: most trials ask for the same."""
        if request != self._last_request:
            self._last_request = dict(request)
        return self._last_request

    def _has_room(self, trial: Trial) -> bool:
        return all(
            self._used.get(name, 0.0) + amount <= self.study.capacity.get(name, 0.0) + EPSILON
            for name, amount in trial.resources.items()
        )

    def _release(self, trial: Trial) -> None:
        del self._live[trial.trial_id]
        for name, amount in trial.resources.items():
            left = self._used[name] - amount
            self._used[name] = left if left > EPSILON else 0.0
        if trial.request is not None:  # what its next attempt asks for
            trial.resources = trial.request.required_resources

    def check(self) -> None:
        """Assert what is always true."""
        for trial in self._live.values():
            assert trial.state in (RUNNING, SAVING, STOPPING, PAUSING), trial.story
        for trial in self._waiting:
            assert trial.state in (PENDING, PAUSED), trial.story
        assert len(set(self._waiting)) == len(self._waiting)
        assert self._order == list(self._trials.values())
        ended = [t for t in self._trials.values() if t.is_finished()]
        assert len(ended) == self.ended
        lined_up = self._lots.get_trials()
        for trial in lined_up:
            assert trial.state == PENDING, trial.story
        counted = len(ended) + len(self._live) + len(self._waiting) + len(lined_up)
        assert counted == len(self._trials)
        for name in {*self._used, *self.study.capacity}:
            used = sum(trial.resources.get(name, 0.0) for trial in self._live.values())
            assert abs(used - self._used.get(name, 0.0)) < 1e-6
            assert used <= self.study.capacity.get(name, 0.0) + 1e-6
        if self.study.max_concurrent:
            assert len(self._live) <= self.study.max_concurrent
        for trial in self._trials.values():
            assert len(trial.checkpoints) <= (self.study.keep or trial.saved)
            own = trial.checkpoints[-1][0] if trial.checkpoints else None
            assert trial.resume_from in (None, own, trial.loan)


def _is_replaced(trial: Trial, out: list[m.Command]) -> bool:
    """Whether a trial was just told to take over another's state: it needs none of its own."""
    return any(
        isinstance(command, m.Snapshot)
        and command.trial is trial
        and command.exploit is not None
        and command.exploit.donor != trial.trial_id
        for command in out
    )
