"""A nested search space for libraries that know flat names: `a/b` is `b` inside `a`.

Also the way back: from flat values to a nested config, and from a user's points to flat values.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from heliostat.tune.search import _space
from heliostat.tune.search.sample import Categorical, Float, Function, Integer
from heliostat.tune.search.searcher import Searcher

UNDEFINED_METRIC_MODE = "{cls} has no metric or no mode (metric={metric}, mode={mode}): give both to TuneConfig, or to it"
UNDEFINED_SEARCH_SPACE = "{cls} has no search space: give it `{space}`, or give Tuner a param_space with something to choose"
UNRESOLVED_SEARCH_SPACE = (
    "`{par}` of {cls} has values of Tune's in it, such as tune.uniform(0, 1): give these as param_space "
    "to Tuner, or give {cls} a space in its library's own words"
)


def check_ready(searcher: Searcher, space: object) -> None:
    """Refuse to propose as long as there is no metric or no space.

    Raises:
        RuntimeError: There is no space, metric or mode.
    """
    words = {"cls": type(searcher).__name__, "metric": searcher.metric, "mode": searcher.mode}
    if not searcher.metric or not searcher.mode:
        raise RuntimeError(UNDEFINED_METRIC_MODE.format(**words))
    if not space:
        raise RuntimeError(UNDEFINED_SEARCH_SPACE.format(**words, space="space"))


class FlatSpace:
    """The open values of a search space by flat names.

    Args:
        space: The nested space.
        who: The searcher, for messages.
        points: What a user wants tried first.

    Raises:
        ValueError: The space has a grid or a function in it, or a point has a key that the space does
            not have; the message names the key.

    Example:
        >>> from heliostat import tune
        >>> flat = FlatSpace({"net": {"width": tune.randint(1, 9)}, "k": 3}, "MySearch")
        >>> list(flat.domains), flat.build({"net/width": 4})
        (['net/width'], {'net': {'width': 4}, 'k': 3})
    """

    def __init__(
        self, space: Mapping[str, Any], who: str, points: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        self._space = space
        self._who = who
        self._paths: dict[str, tuple[Any, ...]] = {}
        self.domains: dict[str, Float | Integer | Categorical] = {}
        for path, value in _space.open_values(space):
            name = "/".join(map(str, path))
            self._paths[name] = path
            self.domains[name] = self._check(name, value)
        for point in points:
            for key in point:
                if key not in self._paths and key not in space:
                    _space.check_keys(space, {key: point[key]})

    def _check(self, name: str, value: Any) -> Float | Integer | Categorical:
        if _space.is_grid(value):
            raise ValueError(
                f"param_space[{name!r}] is a grid_search, which {self._who} does not know; use "
                "tune.choice, or BasicVariantGenerator for grids"
            )
        if isinstance(value, Function) or not isinstance(value, Float | Integer | Categorical):
            raise ValueError(
                f"param_space[{name!r}] is {value!r}, which {self._who} cannot search; make it a "
                "distribution, or compute it in the trial from what is searched"
            )
        if isinstance(value, Categorical) and any(
            True for option in value.categories for _ in _space.open_values(option)
        ):
            raise ValueError(
                f"param_space[{name!r}] chooses among spaces, which {self._who} cannot search; "
                "OptunaSearch can with a function as its space (define-by-run)"
            )
        return value

    def build(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A nested config with these values."""
        config: dict[str, Any] = _space.copy_containers(self._space)
        for name, value in values.items():
            if name in self._paths:
                _space.assign(config, self._paths[name], _space.copy_containers(value))
            else:
                config[name] = value
        return config

    def read(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The flat values of a config or a part of one, nested or flat.

        Raises:
            ValueError: A value that is not in its domain, or a name that is not in the space.
        """
        values: dict[str, Any] = {}
        for name, path in self._paths.items():
            found: Any = point.get(name, _MISSING)
            if found is _MISSING:
                found = _dig(point, path)
            if found is _MISSING:
                continue
            if not self.domains[name].is_valid(found):
                raise ValueError(
                    f"points_to_evaluate gives {name}={found!r}, which is not in {self.domains[name]!r}"
                )
            values[name] = found
        if not values:
            raise ValueError(
                f"the point {dict(point)!r} has none of the values of the search space; they are "
                f"{', '.join(self._paths)}"
            )
        return values


_MISSING = object()


def _dig(point: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        try:
            point = point[step]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return point
