"""A search space -> variants: nested dicts and lists with domains and grids become plain configs.

The order is fixed: grids vary with the first one by name fastest, domains are drawn in the order in which they
are written, so one seed gives one list of configs however many trials run at a time. It does not know
of trials, metrics or searchers.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from heliostat.tune.search.randomness import Rng
from heliostat.tune.search.sample import Categorical, Domain, Function

Path = tuple[Any, ...]
_TAG_LIMIT = 60


class UnresolvableError(ValueError):
    """Values of a search space that wait for each other and can never be drawn."""


class _WaitsError(Exception):
    """A `sample_from` function asked for a value that is not drawn yet."""


def grid_search(values: Iterable[Any]) -> dict[str, list[Any]]:
    """Try every value; several grids in one space are multiplied.

    Args:
        values: The values.

    Raises:
        TypeError: It is no list.
        ValueError: There are none.

    Example:
        >>> grid_search([1, 2])
        {'grid_search': [1, 2]}
    """
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping):
        raise TypeError(
            f"grid_search() takes a list of values, got {values!r}; one is [{values!r}]"
        )
    listed = list(values)
    if not listed:
        raise ValueError("grid_search() needs at least one value, got an empty list")
    return {"grid_search": listed}


def is_grid(value: Any) -> bool:
    """Say whether a value is what `grid_search` returns."""
    return isinstance(value, dict) and value.keys() == {"grid_search"}


def open_values(space: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every domain and grid of a space with its path, in the order written."""
    if isinstance(space, Domain) or is_grid(space):
        yield path, space
    elif isinstance(space, dict | Mapping):  # dict first: an abstract class is slow to ask
        for key, value in space.items():
            yield from open_values(value, (*path, key))
    elif isinstance(space, list | tuple):
        for index, value in enumerate(space):
            yield from open_values(value, (*path, index))


def check_called(space: Any, path: Path = ()) -> None:
    """Refuse what makes a domain and was not called, such as `tune.uniform`: it would be a constant.

    Raises:
        TypeError: There is one; the key is named.
    """
    if isinstance(space, dict | Mapping):
        for key, value in space.items():
            check_called(value, (*path, key))
    elif isinstance(space, list | tuple):
        for index, value in enumerate(space):
            check_called(value, (*path, index))
    elif isinstance(space, Categorical):
        check_called(space.categories, path)
    while isinstance(space, functools.partial):
        space = space.func
    if callable(space) and getattr(space, "__module__", None) in (__name__, Domain.__module__):
        name = getattr(space, "__qualname__", repr(space))
        raise TypeError(
            f"param_space[{'/'.join(map(str, path))!r}] is tune.{name} itself, not what it returns: call "
            f"it with its arguments, tune.{name}(...)"
        )


def grid_size(space: Any) -> int:
    """How many variants one sample of the space has: the product of its grids.

    Raises:
        TypeError: What a grid is to go through is no list; the key is named.
    """
    size = 1
    for path, value in open_values(space):
        if is_grid(value):
            points = value["grid_search"]
            if isinstance(points, str | Mapping) or not hasattr(points, "__len__"):
                where = "/".join(map(str, path))
                raise TypeError(
                    f"param_space[{where!r}]: grid_search takes a list of values, got {points!r}; "
                    "use tune.grid_search([...])"
                )
            size *= len(points)
    return size


def variants(
    space: Mapping[str, Any], rng: Rng, *, constant_grid_search: bool = False
) -> Iterator[dict[str, Any]]:
    """One sample of a space: a config for each point of its grids.

    Args:
        space: The search space.
        rng: Where the randomness comes from.
        constant_grid_search: Draw the random values once for the whole grid, not for each point.

    Yields:
        Configs with no domain and no grid left in them.

    Raises:
        UnresolvableError: `sample_from` functions wait for each other.
    """
    yield from _variants(space, rng, {} if constant_grid_search else None)


def _variants(
    space: Mapping[str, Any], rng: Rng, constants: dict[Path, Any] | None
) -> Iterator[dict[str, Any]]:
    grids = [(path, value["grid_search"]) for path, value in open_values(space) if is_grid(value)]
    grids.sort(key=lambda grid: tuple(map(str, grid[0])))
    # product() turns its last argument fastest; we promise the first.
    for point in product(*(values for _, values in reversed(grids))):
        config = copy_containers(space)
        for (path, _), value in zip(grids, reversed(point), strict=True):
            assign(config, path, copy_containers(value))
        _draw_all(config, rng, constants)
        if any(True for _ in open_values(config)):
            # A drawn value was itself a space, as in choice([{"a": uniform(0, 1)}, ...]).
            yield from _variants(config, rng, constants)
        else:
            yield config


def preset(space: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A space with some of its values given: nested dicts are merged, the rest replaced."""
    merged = copy_containers(space)
    for key, value in values.items():
        old = merged.get(key)
        if isinstance(old, dict) and not is_grid(old) and isinstance(value, Mapping):
            merged[key] = preset(old, value)
        else:
            merged[key] = value
    return merged  # type: ignore[no-any-return]  # a copied Mapping is a dict


def check_keys(space: Mapping[str, Any], point: Mapping[str, Any]) -> None:
    """Refuse a point that gives what its space does not have.

    Raises:
        ValueError: It does; the key is named.
    """
    for key, value in point.items():
        if key not in space:
            raise ValueError(
                f"points_to_evaluate gives {key!r}={value!r}, which param_space does not have there; "
                f"it has {', '.join(map(repr, space)) or 'nothing'}"
            )
        below = space[key]
        if isinstance(below, dict) and not is_grid(below) and isinstance(value, Mapping):
            check_keys(below, value)


def tag(space: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What was chosen, short enough for a directory name: `lr=0.01,width=64`."""
    return ",".join(
        f"{_clean(str(path[-1]))}={_clean(_short(value))}"
        for path, value in chosen(space, config).items()
    )


def chosen(space: Mapping[str, Any], config: Mapping[str, Any]) -> dict[Path, Any]:
    """The values of a config that its space left open, by path."""
    found = {}
    for path, _ in open_values(space):
        value: Any = config
        try:
            for step in path:
                value = value[step]
        except (KeyError, IndexError, TypeError):  # a searcher may leave a value out
            continue
        found[path] = value
    return found


def copy_containers(value: Any) -> Any:
    """A copy of dicts, lists and tuples all the way down; the leaves are shared."""
    if isinstance(value, dict | Mapping):
        return {key: copy_containers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_containers(item) for item in value]
    if type(value) is tuple:  # a NamedTuple is a leaf
        return tuple(copy_containers(item) for item in value)
    return value


class _Guard(dict[str, Any]):
    """What a `sample_from` function sees: the config, by key or attribute; open values make it wait."""

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if isinstance(value, Domain) or is_grid(value):
            raise _WaitsError
        return _Guard(value) if isinstance(value, dict) else value

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401 - that is what this is


def _draw_all(config: dict[str, Any], rng: Rng, constants: dict[Path, Any] | None) -> None:
    """Draw every domain of the config in place; functions wait until what they read is there.

    `constants` remembers draws by path, for all points of a grid; functions are called each time.
    """
    waiting = [(path, value) for path, value in open_values(config) if isinstance(value, Domain)]
    while waiting:
        left = []
        for path, domain in waiting:
            try:
                value = _draw(path, domain, config, rng, constants)
            except _WaitsError:
                left.append((path, domain))
                continue
            assign(config, path, copy_containers(value))
        if len(left) == len(waiting):
            names = ", ".join("/".join(map(str, path)) for path, _ in left)
            raise UnresolvableError(
                f"these values of param_space wait for each other: {names}; "
                "let at least one of their sample_from functions read only what is known"
            )
        waiting = left


def _draw(
    path: Path, domain: Domain, config: dict[str, Any], rng: Rng, constants: dict[Path, Any] | None
) -> Any:
    if isinstance(domain, Function):
        return _call(domain, config)
    if constants is None:
        return domain.draw(rng, config)
    if path not in constants:
        constants[path] = domain.draw(rng, config)
    return constants[path]


def _call(domain: Function, config: dict[str, Any]) -> Any:
    if not domain.takes_config:
        return domain.func()
    try:
        return domain.func(_Guard(config))
    except (AttributeError, KeyError) as error:
        # The older way of writing it: `lambda spec: spec.config.width`.
        try:
            return domain.func(_Guard({"config": config}))
        except (AttributeError, KeyError):
            raise error from None


def assign(config: Any, path: Path, value: Any) -> None:
    """Write a value into a config of dicts, lists and tuples, in place."""
    holder = config
    for depth, step in enumerate(path[:-1]):
        if isinstance(holder[step], tuple):
            # Tuples cannot be written to: make the rest of the way a list, and a tuple again after.
            inner = list(holder[step])
            assign(inner, path[depth + 1 :], value)
            holder[step] = tuple(inner)
            return
        holder = holder[step]
    holder[path[-1]] = value


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"
    return str(value)


def _clean(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.+\-]+", "_", text)[:_TAG_LIMIT].strip("_.") or "_"
