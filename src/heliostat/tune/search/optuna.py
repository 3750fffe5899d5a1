"""OptunaSearch: configurations by Optuna, also for several metrics, and with functions as spaces."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from heliostat.tune._metrics import look_up, user_metrics
from heliostat.tune.search._flat import FlatSpace, check_ready
from heliostat.tune.search.sample import Categorical, Domain, Float, Integer
from heliostat.tune.search.searcher import Searcher, as_list, as_points

if TYPE_CHECKING:
    import optuna

_PLAIN = (type(None), bool, int, float, str)


class OptunaSearch(Searcher):
    """Lets Optuna propose the configurations. Needs the package `optuna`.

    What a trial reports at its end is put into the Optuna trial's `user_attrs`, where a sampler with a
    `constraints_func` finds it; what is reported as a dict `constraints`, name to number, becomes the
    Optuna trial's constraints, which are met at 0 or less.

    Args:
        space: Distributions of Optuna's by name, or a function that takes an Optuna trial, asks it for
            values and may return constants (define-by-run). Usually left to `param_space`.
        metric: The metric, or a list of them; usually left to `TuneConfig`, which takes one only.
        mode: "min" or "max", or a list with one for each metric.
        points_to_evaluate: Configs, or parts of configs, to try first.
        sampler: A sampler of Optuna's; TPE, or for several metrics NSGA-II, if None.
        study_name: Of the Optuna study.
        storage: A storage of Optuna's; in memory if None.
        seed: Of the default sampler.
        evaluated_rewards: The metrics of `points_to_evaluate`, which are then known and not tried.

    Raises:
        ImportError: Optuna is not installed.
        TypeError: A sampler or storage of another kind.
        ValueError: Arguments that contradict each other.

    Example:
        >>> from heliostat import tune
        >>> searcher = OptunaSearch(metric="loss", mode="min", seed=1)  # doctest: +SKIP
        >>> searcher.set_search_properties(None, None, {"x": tune.uniform(0, 1)})  # doctest: +SKIP
        True
        >>> list(searcher.suggest("1"))  # doctest: +SKIP
        ['x']
    """

    def __init__(
        self,
        space: Any = None,
        metric: str | list[str] | None = None,
        mode: str | list[str] | None = None,
        points_to_evaluate: list[dict[str, Any]] | None = None,
        sampler: "optuna.samplers.BaseSampler | None" = None,
        study_name: str | None = None,
        storage: "optuna.storages.BaseStorage | None" = None,
        seed: int | None = None,
        evaluated_rewards: list[Any] | None = None,
    ) -> None:
        optuna = _optuna()
        super().__init__(metric, mode)
        if sampler is not None and seed is not None:
            raise ValueError("sampler and seed: the seed is for the default sampler; drop one")
        if sampler is not None and not isinstance(sampler, optuna.samplers.BaseSampler):
            raise TypeError(f"sampler must be one of optuna.samplers, got {sampler!r}")
        if storage is not None and not isinstance(storage, optuna.storages.BaseStorage):
            raise TypeError(f"storage must be one of optuna.storages, got {storage!r}")
        if isinstance(space, list):
            raise TypeError("a list as space is Optuna's old way; give a dict or a function")
        if evaluated_rewards is not None and callable(space):
            raise ValueError("evaluated_rewards cannot go with a function as space")
        self._points = as_points(points_to_evaluate)
        self._rewards = evaluated_rewards
        if evaluated_rewards is not None and len(evaluated_rewards) != len(self._points):
            raise ValueError(
                f"there are {len(evaluated_rewards)} evaluated_rewards for {len(self._points)} "
                "points_to_evaluate"
            )
        self._sampler = sampler
        self._name = study_name
        self._storage = storage
        # Drawn once, so that a study that is restored proposes the same again.
        self._seed = int.from_bytes(os.urandom(4)) if seed is None else seed
        self._function: Callable[..., Any] | None = space if callable(space) else None
        self._flat: FlatSpace | None = None
        self._distributions: dict[str, Any] = {}
        self._study: Any = None
        self._asked: dict[str, Any] = {}
        if space is not None and self._function is None:
            self._take_space(space)
        if self._metric and self._mode and (space is not None):
            self._begin()

    def set_search_properties(
        self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Take over the space, unless it was given one."""
        super().set_search_properties(metric, mode, config, **spec)
        own = self._function is not None or self._flat is not None
        if not own and config:
            self._take_space(config)
        if self._study is None and (own or config) and self._metric and self._mode:
            self._begin()
        return not own

    def _take_space(self, space: Mapping[str, Any]) -> None:
        self._distributions = {k: v for k, v in space.items() if _is_distribution(v)}
        points = [
            {k: v for k, v in point.items() if k not in self._distributions}
            for point in self._points
        ]
        self._flat = FlatSpace(
            {k: v for k, v in space.items() if not _is_distribution(v)}, "OptunaSearch", points
        )
        for name, domain in self._flat.domains.items():
            self._distributions[name] = _convert(name, domain)

    def _begin(self) -> None:
        optuna = _optuna()
        modes = as_list(self._mode)
        if self._sampler is None:
            kind = optuna.samplers.TPESampler
            self._sampler = (
                kind(seed=self._seed)
                if len(modes) == 1
                else optuna.samplers.NSGAIISampler(seed=self._seed)
            )
        self._study = optuna.create_study(
            storage=self._storage or optuna.storages.InMemoryStorage(),
            sampler=self._sampler,
            pruner=optuna.pruners.NopPruner(),
            study_name=self._name,
            directions=["minimize" if mode == "min" else "maximize" for mode in modes],
            load_if_exists=True,
        )
        for index, point in enumerate(self._points):
            if self._rewards is not None:
                self.add_evaluated_point(point, self._rewards[index])
            else:
                self._study.enqueue_trial(self._read(point))

    def _read(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """A point in Optuna's words."""
        if self._flat is None:
            return dict(point)
        values = {k: v for k, v in point.items() if k in self._distributions}
        if self._flat.domains:
            for name, value in self._flat.read(point).items():
                values[name] = _encode(self._flat.domains[name], value)
        return values

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Ask Optuna.

        Raises:
            RuntimeError: There is no space, metric or mode.
        """
        study = self._ready()
        if self._function is not None:
            trial = study.ask()
            constants = self._function(trial)
            if constants is not None and not isinstance(constants, Mapping):
                raise TypeError(
                    f"the function given as space must return a dict of constants or None, got "
                    f"{constants!r}"
                )
            values: dict[str, Any] = {**trial.params, **(constants or {})}
        else:
            assert self._flat is not None
            trial = study.ask(fixed_distributions=self._distributions)
            values = {
                name: _decode(self._flat.domains.get(name), value)
                for name, value in trial.params.items()
            }
            values = self._flat.build(values)
        self._asked[trial_id] = trial
        return values

    def _ready(self) -> Any:
        if self._study is None:
            check_ready(self, None)
        return self._study

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Tell Optuna what a trial reports on its way; of several metrics it hears at the end only."""
        if isinstance(self._metric, list):
            return
        value = _number(look_up(result, self._metric or ""))
        trial = self._asked.get(trial_id)
        if trial is not None and value is not None:
            step = int(result.get("training_iteration", 0))
            if step not in trial.storage.get_trial(trial._trial_id).intermediate_values:
                trial.report(value, step)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna how a trial ended."""
        optuna = _optuna()
        trial = self._asked.pop(trial_id, None)
        if trial is None:
            return
        study = self._ready()
        values = [_number(look_up(result or {}, name)) for name in as_list(self._metric)]
        if error or None in values or result is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        for name, value in user_metrics(result).items():
            if isinstance(value, _PLAIN):
                trial.set_user_attr(name, value)
        constraints = result.get("constraints")
        if isinstance(constraints, Mapping) and hasattr(trial, "set_constraint"):
            for name, value in constraints.items():
                trial.set_constraint(name, float(value))
        study.tell(trial, values)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: Sequence[float] | None = None,
    ) -> None:
        """Tell Optuna of a configuration whose value is known.

        Args:
            parameters: The configuration.
            value: Its metric; a list of them for several metrics.
            error: Whether it failed.
            pruned: Whether it was cut short.
            intermediate_values: What it reported on its way.

        Raises:
            RuntimeError: There is no space, metric or mode yet.
            TypeError: The space is a function.
        """
        optuna = _optuna()
        study = self._ready()
        if self._function is not None:
            raise TypeError("a function as space does not say what its points are made of")
        states = optuna.trial.TrialState
        state = states.FAIL if error else states.PRUNED if pruned else states.COMPLETE
        params = self._read(parameters)
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                values=None if error else [float(v) for v in as_list(value)],
                params=params,
                distributions={name: self._distributions[name] for name in params},
                intermediate_values=dict(enumerate(intermediate_values or ())),
            )
        )


def _optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError("OptunaSearch needs Optuna: pip install optuna") from error
    return optuna


def _is_distribution(value: Any) -> bool:
    return type(value).__module__.startswith("optuna.")


def _convert(name: str, domain: Domain) -> Any:
    distributions = _optuna().distributions
    match domain:
        case Categorical():
            plain = all(isinstance(option, _PLAIN) for option in domain.categories)
            options = domain.categories if plain else range(len(domain.categories))
            return distributions.CategoricalDistribution(list(options))
        case Integer(lower=low, upper=high, shape=shape, q=q):
            step = 1 if shape == "log" or q is None else q
            # Ours leaves the upper bound out, unless it has a step.
            top = high if q is not None and q > 1 else high - 1
            return distributions.IntDistribution(low, top, log=shape == "log", step=step)
        case Float(lower=low, upper=high, shape=shape, q=q) if low is not None and high is not None:
            step_or_none = None if shape == "log" else q
            return distributions.FloatDistribution(low, high, log=shape == "log", step=step_or_none)
        case _:
            raise ValueError(
                f"param_space[{name!r}] is normally distributed, which Optuna does not know; use "
                "tune.uniform or tune.loguniform"
            )


def _encode(domain: Domain, value: Any) -> Any:
    if isinstance(domain, Categorical) and not _is_plain(domain):
        return list(domain.categories).index(value)
    return value


def _decode(domain: Domain | None, value: Any) -> Any:
    if isinstance(domain, Categorical) and not _is_plain(domain):
        return domain.categories[value]
    if isinstance(domain, Float | Integer) and domain.shape == "log" and domain.q:
        return domain.cast(round(value / domain.q) * domain.q)
    return value


def _is_plain(domain: Categorical) -> bool:
    return all(isinstance(option, _PLAIN) for option in domain.categories)


def _number(value: Any) -> float | None:
    """A metric as Optuna takes it: no NaN, which it cannot compare."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if np.isnan(number) else number
