"""@multiplexed: a replica keeps the models it used last, and loads others when they are asked for.

It does not know which replica is asked: replicas say which models they have, and the Router
prefers those that have the one.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

_MARK = "__heliostat_serve_multiplexed__"
_MODELS = "__heliostat_serve_models__"


class Models:
    """The models of one loader: at most so many, the least recently used goes first.

    Args:
        load: Makes a model by its id.
        most: How many are kept; -1 for all.
    """

    def __init__(self, load: Callable[[str], Any], most: int) -> None:
        self._load = load
        self._most = most
        self._loaded: OrderedDict[str, Any] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Any]] = {}

    @property
    def ids(self) -> list[str]:
        """Those that are there or being loaded."""
        return [*self._loaded, *self._loading]

    async def get(self, model_id: str) -> Any:
        """The model, loaded once however many ask for it at a time."""
        if model_id in self._loaded:
            self._loaded.move_to_end(model_id)
            return self._loaded[model_id]
        task = self._loading.get(model_id)
        if task is None:
            task = self._loading[model_id] = asyncio.create_task(self._bring(model_id))
            tell_models()
        # Shielded: whoever goes away does not take the model from the others who wait for it.
        return await asyncio.shield(task)

    async def _bring(self, model_id: str) -> Any:
        try:
            # Room first: both may not fit at a time.
            while self._most >= 0 and len(self._loaded) + len(self._loading) > self._most:
                if not self._loaded:
                    break
                self._loaded.popitem(last=False)
            model = self._loaded[model_id] = await self._load(model_id)
            return model
        finally:
            del self._loading[model_id]
            tell_models()


_watchers: list[Callable[[], None]] = []


def watch_models(watcher: Callable[[], None] | None) -> None:
    """Whom to tell when models come and go in this process; None forgets."""
    _watchers[:] = [] if watcher is None else [watcher]


def tell_models() -> None:
    """Models have come or gone."""
    for watcher in _watchers:
        watcher()


def multiplexed(
    func: Callable[..., Any] | None = None, max_num_models_per_replica: int = 3
) -> Callable[..., Any]:
    """Keep the models that an `async` loader makes; call it with a model's id.

    A model that has to go is let go with its `__del__`.

    Args:
        func: The loader: a function of a model's id, or a method.
        max_num_models_per_replica: How many models are kept; -1 for all.

    Returns:
        A decorator, or the decorated loader.

    Raises:
        TypeError: For a loader that is not `async` or takes other arguments.
        ValueError: For a number that is neither positive nor -1.

    Example:
        >>> from heliostat import serve
        >>> @serve.deployment
        ... class Models:
        ...     @serve.multiplexed(max_num_models_per_replica=2)
        ...     async def model(self, model_id): return f"model {model_id}"
        ...     async def __call__(self, request):
        ...         return await self.model(serve.get_multiplexed_model_id())
        >>> headers = {"serve_multiplexed_model_id": "7"}
        >>> serve.test_client(Models.bind()).get("/", headers=headers).text
        'model 7'
    """
    most = max_num_models_per_replica
    if isinstance(most, bool) or not isinstance(most, int):
        raise TypeError(f"max_num_models_per_replica must be an int, got {most!r}")
    if most != -1 and most < 1:
        raise ValueError(f"max_num_models_per_replica must be >= 1, or -1 for all; got {most}")

    def decorate(load: Callable[..., Any]) -> Callable[..., Any]:
        if not inspect.iscoroutinefunction(load):
            raise TypeError(f"@serve.multiplexed takes an 'async def' function, got {load!r}")
        parameters = len(inspect.signature(load).parameters)
        if parameters not in (1, 2):
            raise TypeError(
                f"@serve.multiplexed takes a function of a model's id, or a method; {load!r} "
                f"takes {parameters} arguments"
            )

        get = _kept(load, most, parameters)
        setattr(get, _MARK, True)
        return get

    return decorate if func is None else decorate(func)


def _kept(load: Callable[..., Any], most: int, parameters: int) -> Callable[..., Any]:
    """The loader, which loads what is not there already."""

    @functools.wraps(load)
    async def get(*args: Any) -> Any:
        if len(args) != parameters:
            raise TypeError(f"{load.__qualname__} takes a model's id and nothing else")
        model_id = args[-1]
        if not isinstance(model_id, str):
            raise TypeError(f"a model's id is a string, got {model_id!r}")
        if not model_id:
            raise ValueError(
                "the request names no model; send the header serve_multiplexed_model_id, or "
                "use handle.options(multiplexed_model_id=...)"
            )
        known = vars(args[0] if parameters == 2 else load).setdefault(_MODELS, {})
        if load.__qualname__ not in known:
            known[load.__qualname__] = Models(functools.partial(load, *args[:-1]), most)
        return await known[load.__qualname__].get(model_id)

    return get


def is_multiplexed(servable: Any) -> bool:
    """Whether some method of it is decorated with `@multiplexed`."""
    kind = type(servable)
    return any(hasattr(value, _MARK) for base in kind.__mro__ for value in vars(base).values())


def models_of(servable: Any) -> tuple[str, ...]:
    """The ids of the models that it has."""
    known: dict[str, Models] = getattr(servable, "__dict__", {}).get(_MODELS, {})
    return tuple(model_id for models in known.values() for model_id in models.ids)
