"""AxSearch: configurations by Ax, Bayesian optimisation with Gaussian processes of BoTorch's."""

import math
import random
from collections.abc import Mapping
from numbers import Real
from typing import Any

from heliostat.tune._metrics import look_up
from heliostat.tune.search._flat import UNRESOLVED_SEARCH_SPACE, FlatSpace, check_ready
from heliostat.tune.search._unit import to_value
from heliostat.tune.search.sample import Categorical, Domain, Float, Integer, grid_indices
from heliostat.tune.search.searcher import Searcher, as_points, check_single

_PLAIN = (str, bool, int, float)


class AxSearch(Searcher):
    """Lets Ax propose the configurations. Needs the package `ax-platform`.

    Once it has results for a model, Ax proposes nearly the same for the same seed, not exactly: such a
    study cannot be restored, and says so.

    Args:
        space: Parameters in Ax's words, `[{"name": "x", "type": "range", "bounds": [0, 1]}]`, or a
            search space; usually left to `param_space`.
        metric: The metric to optimise; usually left to `TuneConfig`.
        mode: "min" or "max"; usually left to `TuneConfig`.
        points_to_evaluate: Configs to try first; what a part leaves out is the middle of its range.
        parameter_constraints: Such as `"x3 >= x4"` or `"x3 + x4 <= 2"`.
        outcome_constraints: Such as `"latency <= 3"`, of other metrics that trials report.
        ax_client: An `AxClient` with an experiment; it has space, metric and constraints already.
        ax_kwargs: Arguments of `AxClient` when one is made here. Without a `random_seed` one is drawn.

    Raises:
        ImportError: Ax is not installed.
        ValueError: Arguments that contradict each other.

    Example:
        >>> from heliostat import tune
        >>> searcher = AxSearch(metric="loss", mode="min")  # doctest: +SKIP
        >>> searcher.set_search_properties(None, None, {"x": tune.uniform(0, 1)})  # doctest: +SKIP
        True
        >>> list(searcher.suggest("1"))  # doctest: +SKIP
        ['x']
    """

    def __init__(
        self,
        space: Mapping[str, Any] | list[dict[str, Any]] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: list[dict[str, Any]] | None = None,
        parameter_constraints: list[str] | None = None,
        outcome_constraints: list[str] | None = None,
        ax_client: Any = None,
        **ax_kwargs: Any,
    ) -> None:
        _ax()
        super().__init__(metric, mode)
        check_single("AxSearch", metric, mode)
        given = {
            "space": space,
            "metric": metric,
            "mode": mode,
            "parameter_constraints": parameter_constraints,
            "outcome_constraints": outcome_constraints,
            **ax_kwargs,
        }
        twice = [name for name, value in given.items() if value is not None]
        if ax_client is not None and twice:
            raise ValueError(
                f"AxSearch(ax_client=...) has {', '.join(twice)} already, in its experiment; drop them"
            )
        self._points = as_points(points_to_evaluate)
        self._constraints = {
            "parameter_constraints": parameter_constraints,
            "outcome_constraints": outcome_constraints,
        }
        # Drawn now, so that a study that is restored asks for the same again.
        seed = random.randrange(2**31)
        self._kwargs = {"verbose_logging": False, "random_seed": seed, **ax_kwargs}
        self._flat: FlatSpace | None = None
        self._parameters: list[dict[str, Any]] | None = None
        self._client: Any = ax_client
        # Indices of Ax's for trials that run.
        self._asked: dict[str, int] = {}
        if ax_client is not None:
            self._metric, self._mode = _goal(ax_client)
        elif isinstance(space, Mapping):
            self._flat = FlatSpace(space, "AxSearch", self._points)
        elif space is not None:
            self._parameters = _check_parameters(space)
        self._own = ax_client is not None or space is not None

    def set_search_properties(
        self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Take over the space, unless it was given one."""
        super().set_search_properties(metric, mode, config, **spec)
        check_single("AxSearch", self._metric, self._mode)
        if self._own:
            return False
        self._flat = FlatSpace(config, "AxSearch", self._points)
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Ask Ax; None as long as it waits for results.

        Raises:
            RuntimeError: There is no space, metric or mode.
        """
        core, generation = _ax().exceptions.core, _ax().exceptions.generation_strategy
        client = self._begun()
        try:
            if self._points:
                parameters, index = client.attach_trial(self._read(self._points.pop(0)))
            else:
                parameters, index = client.get_next_trial()
        except (core.DataRequiredError, generation.MaxParallelismReachedException):
            if not self._asked:
                raise  # nobody runs whose result Ax could wait for
            return None
        except (
            core.SearchSpaceExhausted,
            core.OptimizationComplete,
            generation.GenerationStrategyCompleted,
        ):
            return Searcher.FINISHED
        self._asked[trial_id] = index
        if self._flat is None:
            return dict(parameters)
        domains = self._flat.domains
        return self._flat.build({n: _from_ax(domains[n], v) for n, v in parameters.items()})

    def _begun(self) -> Any:
        """The client, with an experiment."""
        if self._client is not None:
            return self._client
        if self._flat is not None:
            self._parameters = [_to_ax(name, part) for name, part in self._flat.domains.items()]
        check_ready(self, self._parameters)
        service = _ax().service.ax_client
        client = service.AxClient(**self._kwargs)
        goal = service.ObjectiveProperties(minimize=self._mode == "min")
        client.create_experiment(
            name="heliostat",
            parameters=self._parameters,
            objectives={self._metric: goal},
            **self._constraints,
        )
        self._client = client
        return client

    def _read(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """A config in Ax's values."""
        if self._flat is None:
            return dict(point)
        values = self._flat.read(point)
        return {
            name: _value_in_ax(domain, values.get(name, to_value(domain, 0.5)))
            for name, domain in self._flat.domains.items()
        }

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Ax how a trial ended; one without a number for each metric has failed."""
        index = self._asked.pop(trial_id, None)
        if index is not None:
            self._tell(index, {} if error or result is None else result)

    def _tell(self, index: int, result: Mapping[str, Any]) -> None:
        measured = {name: look_up(result, name) for name in self._client.experiment.metrics}
        if all(isinstance(v, Real) and math.isfinite(v) for v in measured.values()):
            self._client.complete_trial(index, raw_data={n: float(v) for n, v in measured.items()})
        else:
            self._client.log_trial_failure(index)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: Any = None,
    ) -> None:
        """Learn from a configuration whose value is known; failed and cut short ones do not count."""
        if error or pruned:
            return
        _, index = self._begun().attach_trial(self._read(parameters))
        self._tell(index, {str(self._metric): value})


def _ax() -> Any:
    try:
        import ax.exceptions.core  # noqa: PLC0415 - optional
        import ax.exceptions.generation_strategy  # noqa: PLC0415 - optional
        import ax.service.ax_client  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError("AxSearch needs Ax: pip install ax-platform") from error
    return ax


def _goal(client: Any) -> tuple[str, str]:
    """Metric and mode of a client's experiment."""
    config = getattr(client, "_experiment", None) and client.experiment.optimization_config
    if not config:
        raise ValueError(
            "AxSearch(ax_client=...) needs a client with an experiment; call "
            "ax_client.create_experiment(parameters=..., objectives=...) first"
        )
    return client.objective_name, "min" if config.objective.minimize else "max"


def _check_parameters(space: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if any(isinstance(value, Domain) for part in space for value in part.values()):
        raise ValueError(UNRESOLVED_SEARCH_SPACE.format(par="space", cls="AxSearch"))
    for part in space:
        if not {"name", "type"} <= set(part):
            raise ValueError(
                f"AxSearch(space=...): each parameter needs 'name' and 'type', got {part!r}"
            )
    return list(space)


def _to_ax(name: str, domain: Float | Integer | Categorical) -> dict[str, Any]:
    """A domain in Ax's words."""
    part: dict[str, Any] = {"name": name}
    if isinstance(domain, Categorical):
        values = [_value_in_ax(domain, value) for value in domain.categories]
        if len(values) == 1:
            return {**part, "type": "fixed", "value": values[0]}
        ordered = not isinstance(values[0], str | bool)
        kind = type(values[0]).__name__
        more = {"value_type": kind, "is_ordered": ordered, "sort_values": ordered}
        return {**part, "type": "choice", "values": values, **more}
    if domain.shape == "normal":
        raise ValueError(
            f"param_space[{name!r}] is normally distributed, which Ax does not know; use tune.uniform "
            "or tune.loguniform"
        )
    assert domain.lower is not None
    assert domain.upper is not None
    steps = _steps(domain)
    if steps is None:
        low, high, kind = domain.lower, domain.upper, "float"
    else:
        (low, high), kind = steps, "int"
    if low == high:
        return {**part, "type": "fixed", "value": low}
    log = domain.shape == "log"
    return {**part, "type": "range", "bounds": [low, high], "value_type": kind, "log_scale": log}


def _steps(domain: Float | Integer) -> tuple[int, int] | None:
    """First and last step of what comes in steps; None for real numbers."""
    if domain.q is None or (isinstance(domain, Integer) and domain.q == 1):
        return (domain.lower, domain.upper - 1) if isinstance(domain, Integer) else None
    assert domain.lower is not None
    assert domain.upper is not None
    return grid_indices(domain.lower, domain.upper, domain.q)


def _plain(options: list[Any]) -> bool:
    """Whether Ax can hold these choices: different ones, all of one plain type."""
    kinds = {type(option) for option in options}
    return len(kinds) == 1 and kinds <= set(_PLAIN) and len(set(options)) == len(options)


def _value_in_ax(domain: Float | Integer | Categorical, value: Any) -> Any:
    if isinstance(domain, Categorical):
        options = list(domain.categories)
        return value if _plain(options) else f"choice {options.index(value)}"
    return value if domain.q is None else round(value / domain.q)


def _from_ax(domain: Float | Integer | Categorical, value: Any) -> Any:
    if isinstance(domain, Categorical):
        options = list(domain.categories)
        return value if _plain(options) else options[int(str(value).split()[1])]
    return domain.cast(value if domain.q is None else value * domain.q)
