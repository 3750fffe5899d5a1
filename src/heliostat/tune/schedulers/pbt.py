"""Population based training: the worst trials go on from the best ones' checkpoints, slightly changed.

`_explore.py` is how a configuration is changed. What a scheduler decides about a trial is said to the
study: which trial takes over from which, with what; the study pauses, remembers and starts.
"""

import copy
import json
import logging
import math
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliostat.tune._messages import Exploit, Policy
from heliostat.tune._metrics import look_up, score
from heliostat.tune._trial import PAUSED, PAUSING, PENDING, SAVING, Trial
from heliostat.tune.error import TuneError
from heliostat.tune.schedulers._explore import Explorer, check_mutations, fill
from heliostat.tune.schedulers.trial_scheduler import Trials, TrialScheduler
from heliostat.tune.search.searcher import check_mode

_log = logging.getLogger("heliostat.tune")

# A trial that will have saved itself soon.
_SAVE = (SAVING, PAUSING)


@dataclass(slots=True)
class Member:
    """What is known of a trial of the population."""

    tag: str
    score: float | None = None
    trained: float = 0.0
    perturbed: float = 0.0


class PopulationBasedTraining(TrialScheduler):
    """Lets the worst part of the trials take over from the best part, again and again.

    Args:
        time_attr: The metric that counts the age.
        metric: What to compare; usually left to `TuneConfig`.
        mode: "min" or "max"; usually left to `TuneConfig`.
        perturbation_interval: A trial's turn comes each time it is older by so much.
        burn_in_period: Nobody's turn comes younger.
        hyperparam_mutations: What may change: a list of values, a domain, or a function that draws;
            nested as in the search space.
        quantile_fraction: This part of the trials takes over from as many of the best; at most 0.5.
        resample_probability: How likely a value is drawn anew instead of changed a little.
        perturbation_factors: What a number is multiplied with, one or the other.
        custom_explore_fn: Takes the new config and returns one; called last.
        log_config: Write each takeover into `pbt_global.txt` and `pbt_policy_*.txt` of the study.
        require_attrs: A report without the metric or the age is an error; else it does not count.
        synch: All trials wait for each other at each turn.

    Raises:
        ValueError: A value out of range.
        TuneError: There is nothing to change.

    Example:
        >>> pbt = PopulationBasedTraining(
        ...     time_attr="training_iteration", metric="loss", mode="min",
        ...     perturbation_interval=5, hyperparam_mutations={"lr": [0.1, 0.01, 0.001]},
        ... )
        >>> pbt.debug_string()
        'Using PopulationBasedTraining: 0 takeovers.'
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        burn_in_period: float = 0.0,
        hyperparam_mutations: Mapping[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        resample_probability: float = 0.25,
        perturbation_factors: tuple[float, float] = (1.2, 0.8),
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
    ) -> None:
        super().__init__()
        check_mode(mode)
        mutations = dict(hyperparam_mutations or {})
        check_mutations(mutations)
        if not mutations and custom_explore_fn is None:
            raise TuneError(
                f"{type(self).__name__} has nothing to change: give it hyperparam_mutations or a "
                "custom_explore_fn"
            )
        if not 0 <= quantile_fraction <= 0.5:
            raise ValueError(f"quantile_fraction must be in [0, 0.5], got {quantile_fraction!r}")
        if not 0 <= resample_probability <= 1:
            raise ValueError(
                f"resample_probability must be in [0, 1], got {resample_probability!r}"
            )
        if not perturbation_interval > 0:
            raise ValueError(f"perturbation_interval must be > 0, got {perturbation_interval!r}")
        self._metric, self._mode = metric, mode
        self._time_attr = time_attr
        self._interval = perturbation_interval
        self._burn_in = burn_in_period
        self._fraction = quantile_fraction
        self._mutations = mutations
        self._log_config = log_config
        self._require = require_attrs
        self._synch = synch
        self._turn = max(perturbation_interval, burn_in_period)
        # Of its own, so that a study that is restored draws the same again.
        self._rng = random.Random(random.getrandbits(64))
        self._explorer = Explorer(
            mutations, resample_probability, perturbation_factors, custom_explore_fn, self._rng
        )
        self._members: dict[str, Member] = {}
        self._takeovers = 0
        self._missed = False  # somebody could not take over

    def on_trial_add(self, tune_controller: Trials, trial: Trial) -> None:
        """Take a trial into the population; what its config lacks of the mutations is drawn.

        Raises:
            TuneError: There is no metric to compare by.
        """
        self.check_metric()
        self._members[trial.trial_id] = Member(trial.experiment_tag)
        fill(trial.config, self._mutations, self._rng)

    def on_trial_result(
        self, tune_controller: Trials, trial: Trial, result: Mapping[str, Any]
    ) -> str:
        """When it is a trial's turn: save it if it is among the best, replace it if among the worst.

        Raises:
            RuntimeError: The report lacks the metric or the age.
        """
        age, value = look_up(result, self._time_attr), look_up(result, self._metric or "")
        if age is None or value is None:
            return self._without(trial, result)
        member = self._members[trial.trial_id]
        if not self._is_turn(member, age):
            return self.CONTINUE
        member.score = score(value, self._mode)
        member.trained = age
        if self._synch:
            return self.PAUSE  # until all are there
        member.perturbed = age
        low, high = self._quantiles(tune_controller)
        if trial in low and self._replace(tune_controller, trial, high):
            return self.PAUSE
        others = tune_controller.get_live_trials()
        if any(other.status in (PENDING, PAUSED) and other is not trial for other in others):
            return self.PAUSE
        return self.SAVE if trial in high else self.CONTINUE

    def _is_turn(self, member: Member, age: float) -> bool:
        if self._synch:
            return age >= self._turn
        return age >= self._burn_in and age - member.perturbed >= self._interval

    def next_turn(self, trial: Trial) -> float:
        """When it is older by an interval."""
        judges = type(self).on_trial_result is PopulationBasedTraining.on_trial_result
        if self._time_attr != "training_iteration" or not judges:
            return 0.0
        if self._synch:
            return self._turn
        return max(self._burn_in, self._members[trial.trial_id].perturbed + self._interval)

    def _without(self, trial: Trial, result: Mapping[str, Any]) -> str:
        lacks = [n for n in (self._time_attr, self._metric or "") if look_up(result, n) is None]
        if self._require:
            raise RuntimeError(
                f"trial {trial} reported no {' and no '.join(map(repr, lacks))}, which "
                f"{type(self).__name__} needs; report it, or give require_attrs=False"
            )
        return self.CONTINUE

    def _quantiles(self, study: Trials) -> tuple[list[Trial], list[Trial]]:
        scored = []
        for trial in study.get_live_trials():
            its = self._members[trial.trial_id].score
            if its is not None:
                scored.append((its, trial))
        scored.sort(key=lambda pair: pair[0])
        if len(scored) <= 1:
            return [], []
        count = math.ceil(len(scored) * self._fraction)
        count = min(count, len(scored) // 2)
        trials = [trial for _, trial in scored]
        return (trials[:count], trials[-count:]) if count else ([], [])

    def _replace(self, study: Trials, trial: Trial, high: list[Trial]) -> bool:
        """Let a trial go on from one of the best; False when that one has saved nothing."""
        donor = self._rng.choice(high)
        if donor.resume_from is None and donor.state not in _SAVE:
            if not self._missed:
                _log.warning(
                    "%s: trial %s cannot go on from trial %s, which has saved nothing: give "
                    "tune.report(..., checkpoint=...) a checkpoint, and begin at "
                    "tune.get_checkpoint(). Said once",
                    type(self).__name__,
                    trial,
                    donor,
                )
            self._missed = True
            return False
        mine, its = self._members[trial.trial_id], self._members[donor.trial_id]
        config, changes = self._explore(donor, mine)
        tag = f"{mine.tag}@perturbed[{changes}]"
        policy = None
        if self._log_config:
            ages = [t.last_result.get("training_iteration", 0) for t in (trial, donor)]
            line = [mine.tag, its.tag, *ages, copy.deepcopy(donor.config), config]
            policy = Policy(_number(mine.tag), _number(its.tag), line)
        study.exploit(trial, Exploit(donor.trial_id, config, tag, policy))
        mine.score, mine.trained, mine.perturbed = its.score, its.trained, its.perturbed
        self._takeovers += 1
        return True

    def _explore(self, donor: Trial, member: Member) -> tuple[dict[str, Any], str]:
        return self._explorer.change(donor.config)

    def choose_trial_to_run(self, tune_controller: Trials) -> Trial | None:
        """The one that has trained least; in step, only who has not come to the turn yet."""
        waiting = tune_controller.get_waiting_trials()
        live = tune_controller.get_live_trials()
        # Pending, and yet at the turn, is one that a kill kept from being paused.
        if self._synch and all(trial.status in (PAUSED, PENDING) for trial in live):
            while live and not any(map(self._may_run, live)):
                self._take_turn(tune_controller, live)
        # Whose donor is about to save itself waits for that.
        saving = {trial.trial_id for trial in live if trial.state in _SAVE}
        ready = [t for t in waiting if t.donor not in saving and self._may_run(t)]
        return min(ready, key=lambda trial: self._members[trial.trial_id].trained, default=None)

    def _may_run(self, trial: Trial) -> bool:
        return not self._synch or self._members[trial.trial_id].trained < self._turn

    def _take_turn(self, study: Trials, live: list[Trial]) -> None:
        """In step, when all wait: the worst take over from the best."""
        self._turn = max(self._turn + self._interval, *(self._trained(trial) for trial in live), 0)
        low, high = self._quantiles(study)
        for trial in low:
            self._replace(study, trial, high)

    def _trained(self, trial: Trial) -> float:
        return self._members[trial.trial_id].trained

    def debug_string(self) -> str:
        """How often a trial took over from another."""
        return f"Using {type(self).__name__}: {self._takeovers} takeovers."


class PopulationBasedTrainingReplay(TrialScheduler):
    """Trains one trial along the configurations that a population arrived at.

    Args:
        policy_file: A `pbt_policy_*.txt` that `PopulationBasedTraining` wrote.

    Raises:
        ValueError: There is no such file, or it is none of these.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> line = ["0_lr=1", "1_lr=2", 5, 5, {"lr": 2}, {"lr": 2.4}]
        >>> _ = Path("/tmp/pbt_policy_0.txt").write_text(json.dumps(line))
        >>> PopulationBasedTrainingReplay("/tmp/pbt_policy_0.txt").config
        {'lr': 2}
    """

    def __init__(self, policy_file: str | os.PathLike[str]) -> None:
        super().__init__()
        path = Path(policy_file).expanduser()
        if not path.is_file():
            raise ValueError(f"there is no policy file {str(path)!r}")
        try:
            lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
            self._policy = [(float(line[3]), dict(line[5])) for line in lines]
            self.config: dict[str, Any] = dict(lines[0][4])
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{str(path)!r} is no policy file: {error!r}") from error
        self._trial_id: str | None = None
        self._next = 0

    def on_trial_add(self, tune_controller: Trials, trial: Trial) -> None:
        """Give the one trial the first configuration.

        Raises:
            ValueError: It is not the first.
        """
        if self._trial_id not in (None, trial.trial_id):
            raise ValueError(
                "PopulationBasedTrainingReplay trains one trial; leave num_samples at 1 and use no grid"
            )
        self._trial_id = trial.trial_id
        trial.config = {**trial.config, **self.config}

    def on_trial_result(
        self, tune_controller: Trials, trial: Trial, result: Mapping[str, Any]
    ) -> str:
        """Change the configuration where the population did."""
        age = result.get("training_iteration", 0)
        if self._next >= len(self._policy) or age < self._policy[self._next][0]:
            return self.CONTINUE
        config = {**trial.config, **self._policy[self._next][1]}
        self._next += 1
        tag = f"{trial.experiment_tag.split('@')[0]}@replayed[{self._next}]"
        tune_controller.exploit(trial, Exploit(trial.trial_id, config, tag))
        return self.PAUSE

    def debug_string(self) -> str:
        """How many of the changes were made."""
        made = f"{self._next} of {len(self._policy)}"
        return f"Using PopulationBasedTrainingReplay: {made} changes made."


def _number(tag: str) -> str:
    return tag.split("_")[0]
