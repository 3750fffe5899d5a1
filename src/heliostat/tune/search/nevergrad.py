"""NevergradSearch: configurations by one of Nevergrad's gradient-free optimisers."""

from collections.abc import Mapping
from typing import Any

from heliostat.tune._metrics import look_up
from heliostat.tune.search._flat import FlatSpace, check_ready
from heliostat.tune.search.sample import Categorical, Float, Integer
from heliostat.tune.search.searcher import Searcher, as_points, check_single


class NevergradSearch(Searcher):
    """Lets Nevergrad propose the configurations. Needs the package `nevergrad`.

    Args:
        optimizer: A class from `nevergrad.optimizers`, or an instance of one; NGOpt if None.
        optimizer_kwargs: Arguments of the class, such as `budget`.
        space: A parametrisation of Nevergrad's, or names for an instance; usually left to `param_space`.
        metric: The metric to optimise; usually left to `TuneConfig`.
        mode: "min" or "max"; usually left to `TuneConfig`.
        points_to_evaluate: Configs to try first.

    Raises:
        ImportError: Nevergrad is not installed.
        ValueError: Arguments that contradict each other.

    Example:
        >>> from heliostat import tune
        >>> searcher = NevergradSearch(metric="loss", mode="min")  # doctest: +SKIP
        >>> searcher.set_search_properties(None, None, {"x": tune.uniform(0, 1)})  # doctest: +SKIP
        True
        >>> list(searcher.suggest("1"))  # doctest: +SKIP
        ['x']
    """

    def __init__(
        self,
        optimizer: Any = None,
        optimizer_kwargs: dict[str, Any] | None = None,
        space: Any = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: list[dict[str, Any]] | None = None,
    ) -> None:
        _nevergrad()
        super().__init__(metric, mode)
        check_single("NevergradSearch", metric, mode)
        ready = optimizer is not None and not callable(optimizer)
        if ready and optimizer_kwargs:
            raise ValueError("optimizer_kwargs are for a class; this optimizer is made already")
        self._kind = None if ready else optimizer
        self._kwargs = dict(optimizer_kwargs or {})
        self._optimizer: Any = optimizer if ready else None
        self._names: list[str] | None = list(space) if ready and isinstance(space, list) else None
        self._points = as_points(points_to_evaluate)
        self._flat: FlatSpace | None = None
        self._asked: dict[str, Any] = {}
        self._own = space is not None or ready
        if space is not None and not ready:
            self._begin(space)

    def set_search_properties(
        self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Take over the space, unless it was given one."""
        super().set_search_properties(metric, mode, config, **spec)
        check_single("NevergradSearch", self._metric, self._mode)
        if self._own:
            return False
        ng = _nevergrad()
        self._flat = FlatSpace(config, "NevergradSearch", self._points)
        if self._flat.domains:
            parts = {name: _convert(name, domain) for name, domain in self._flat.domains.items()}
            self._begin(ng.p.Dict(**parts))
        return True

    def _begin(self, space: Any) -> None:
        kind = self._kind or _nevergrad().optimizers.NGOpt
        self._optimizer = kind(parametrization=space, **self._kwargs)
        for point in self._points:
            self._optimizer.suggest(self._flat.read(point) if self._flat else dict(point))

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Ask Nevergrad.

        Raises:
            RuntimeError: There is no space, metric or mode.
        """
        check_ready(self, self._optimizer is not None)
        asked = self._asked[trial_id] = self._optimizer.ask()
        if self._names is not None:
            return dict(zip(self._names, asked.args[0], strict=True))
        values = dict(asked.value)
        if self._flat is None:
            return values
        domains = self._flat.domains
        return self._flat.build({name: domains[name].cast(v) for name, v in values.items()})

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Nevergrad how a trial ended; of one that failed it hears nothing."""
        asked = self._asked.pop(trial_id, None)
        value = look_up(result or {}, str(self._metric))
        if asked is None or error or not isinstance(value, int | float) or value != value:
            return
        self._optimizer.tell(asked, float(value) if self._mode == "min" else -float(value))


def _nevergrad() -> Any:
    try:
        import nevergrad  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError(
            "NevergradSearch needs Nevergrad, which is not installed or does not load "
            f"({error}): pip install nevergrad 'bayesian-optimization<2'"
        ) from error
    return nevergrad


def _convert(name: str, domain: Float | Integer | Categorical) -> Any:
    p = _nevergrad().p
    match domain:
        case Categorical():
            return p.Choice(list(domain.categories))
        case Integer(lower=low, upper=high, shape=shape):
            if shape == "log":
                return p.Log(lower=low, upper=high - 1).set_integer_casting()
            return p.Scalar(lower=low, upper=high - 1).set_integer_casting()
        case Float(lower=low_or_none, upper=high_or_none, shape=shape, q=None) if (
            low_or_none is not None
        ):
            kind = p.Log if shape == "log" else p.Scalar
            return kind(lower=low_or_none, upper=high_or_none)
        case _:
            raise ValueError(
                f"param_space[{name!r}] has steps or is normally distributed, which Nevergrad does not "
                "know; use tune.uniform, tune.loguniform, tune.randint or tune.choice"
            )
