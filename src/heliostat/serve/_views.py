"""The user's ASGI app in a deployment: `@serve.ingress`, and methods as views of FastAPI.

FastAPI reads a view's parameters when a route is made, and takes `self` for one of the query.
Here each such route is made anew, of a function that has no `self` and finds the object which the
replica has put into the context. The app stays the user's own object, with all it has.
"""

from __future__ import annotations

import copyreg
import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from starlette.datastructures import State
from starlette.types import ASGIApp

SERVABLE: ContextVar[Any] = ContextVar("heliostat_serve_object")  # the deployment's object
_APP = "__heliostat_serve_app__"
_OWNER = "__heliostat_serve_class__"
_VIEW = "__heliostat_serve_view__"
_BUILD = "__serve_build_asgi_app__"


def _reduce_state(state: State) -> Any:
    return State, (state._state,)


# Every Starlette app has one, and its __getattr__ looks for what a copy still lacks, for ever.
copyreg.pickle(State, _reduce_state)


def ingress(app: ASGIApp | Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Answer HTTP requests with your own FastAPI or Starlette app; below `@serve.deployment`.

    Methods of the class may be views: `@app.get("/path")` above them. Routers, dependencies,
    middleware, lifespan, WebSockets and the pages at /docs work as they do under any server.

    Args:
        app: A FastAPI or any other ASGI app; or a function that makes one, which is called in
            each replica. None when the class has a method `__serve_build_asgi_app__`.

    Returns:
        A decorator for the class; called without one, it makes a class that has only the app.

    Raises:
        TypeError: When it decorates no class, or `app` is none.
        ValueError: When the class has a `__call__`, which would never be called.

    Example:
        >>> from fastapi import FastAPI
        >>> from heliostat import serve
        >>> api = FastAPI()
        >>> @serve.deployment
        ... @serve.ingress(api)
        ... class Greeter:
        ...     @api.get("/hello")
        ...     def hello(self, name: str) -> str: return f"hello {name}"
        >>> serve.test_client(Greeter.bind()).get("/hello", params={"name": "you"}).json()
        'hello you'
    """
    if app is not None and not callable(app):
        raise TypeError(f"serve.ingress takes an ASGI app or a function that makes one: {app!r}")

    def decorate(cls: type | None = None) -> type:
        kind = _Bare if cls is None else cls
        if not inspect.isclass(kind):
            raise TypeError(f"@serve.ingress decorates a class, got {cls!r}")
        if "__call__" in dir(kind) and kind.__call__ is not type.__call__ and _defines_call(kind):
            raise ValueError(
                f"{kind.__name__} has a __call__, which an ingress never calls; make it a view "
                'with @app.get("/")'
            )
        if app is None and not hasattr(kind, _BUILD):
            raise ValueError(
                f"serve.ingress() without an app needs a method {_BUILD} in {kind.__name__}"
            )
        if cls is None:
            kind = type("ASGIIngressDeployment", (_Bare,), {})
        _adopt_views(app, kind)
        setattr(kind, _APP, app)
        return kind

    return decorate


def app_of(servable: Any) -> ASGIApp | None:
    """The ASGI app of a deployment's object; None when it has none."""
    kind = type(servable)
    if not hasattr(kind, _APP):
        return None
    app = inspect.getattr_static(kind, _APP)
    if app is None:
        return getattr(servable, _BUILD)()  # type: ignore[no-any-return]
    if inspect.isfunction(app):
        return _built(app, servable)
    _adopt_views(app, kind)  # those of routers that were included below the class
    return app  # type: ignore[no-any-return]


def keep_own_views(target: Any) -> None:
    """One app may serve several classes; each replica's copy keeps the views of its own."""
    app = getattr(target, _APP, None)
    for router, route in _views(app):
        owner = getattr(route.endpoint, _OWNER, None)
        if owner is not None and owner not in target.__mro__:
            router.routes.remove(route)


def let_travel(target: Any) -> None:
    """See to it that the app of a class can be pickled: routers of FastAPI 0.165 hold locks."""
    todo, seen = [getattr(target, _APP, None)], set()
    while todo:
        node = todo.pop()
        if id(node) in seen or not hasattr(node, "__dict__"):
            continue
        seen.add(id(node))
        if any(isinstance(value, _LOCKS) for value in vars(node).values()):
            copyreg.pickle(type(node), _reduce_to_new_locks)
        todo += [getattr(node, name, None) for name in ("router", "original_router", "app")]
        todo += getattr(node, "routes", None) or ()


_LOCKS = (type(threading.Lock()), type(threading.RLock()))


def _reduce_to_new_locks(node: Any) -> Any:
    names = tuple(name for name, value in vars(node).items() if isinstance(value, _LOCKS))
    state = {name: value for name, value in vars(node).items() if name not in names}
    return _with_locks, (type(node), names), state


def _with_locks(kind: Any, names: tuple[str, ...]) -> Any:
    """An object without a state, but with its locks, which nobody holds."""
    node = kind.__new__(kind)
    vars(node).update((name, threading.RLock()) for name in names)
    return node


class _Bare:
    """For `serve.ingress(app)()`: no code but the app; keeps what it was bound with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs


def _built(make: Callable[..., Any], servable: Any) -> ASGIApp:
    """A function with three parameters is an app itself, else it makes one."""
    if len(inspect.signature(make).parameters) == 3 and inspect.iscoroutinefunction(make):
        return make
    app: ASGIApp = make()
    return app


def _defines_call(kind: type) -> bool:
    return any("__call__" in vars(base) for base in kind.__mro__)


def _servable() -> Any:
    """The deployment's object; a function, since a view is pickled with what it names."""
    return SERVABLE.get()


def _without_self(view: Any) -> Any:
    """A function of the same kind as the view, and of its signature without `self`."""
    bound: Any
    if inspect.isasyncgenfunction(view):

        async def bound(*args: Any, **kwargs: Any) -> Any:
            async for item in view(_servable(), *args, **kwargs):
                yield item

    elif inspect.isgeneratorfunction(view):

        def bound(*args: Any, **kwargs: Any) -> Any:
            yield from view(_servable(), *args, **kwargs)

    elif inspect.iscoroutinefunction(view):

        async def bound(*args: Any, **kwargs: Any) -> Any:
            return await view(_servable(), *args, **kwargs)

    else:

        def bound(*args: Any, **kwargs: Any) -> Any:
            return view(_servable(), *args, **kwargs)

    functools.update_wrapper(bound, view)
    try:  # FastAPI 0.115 looks for names where the wrapper stands, not where the view does
        signature = inspect.signature(view, eval_str=True)
    except NameError:
        signature = inspect.signature(view)
    bound.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])
    setattr(bound, _VIEW, view)
    return bound


def _views(router: Any) -> Iterator[tuple[Any, Any]]:
    """All routes below a router that have a function of the user's, each with its own router."""
    for route in list(getattr(router, "routes", ())):
        if hasattr(route, "endpoint"):
            yield router, route
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        if inner is not None and not hasattr(route, "endpoint"):
            yield from _views(inner)


def _adopt_views(app: Any, kind: type) -> None:
    """Make the routes anew whose views are methods of the class."""
    functions = {
        id(value) for base in kind.__mro__ for value in vars(base).values() if callable(value)
    }
    prefixes = tuple(f"{base.__qualname__}." for base in kind.__mro__ if base is not object)
    for _, route in _views(app):
        owner = getattr(route.endpoint, _OWNER, None)
        view = getattr(route.endpoint, _VIEW, route.endpoint)
        name = getattr(view, "__qualname__", "")
        if owner is kind or (owner is not None and owner not in kind.__mro__):
            continue  # known already; or of another class, which may have the same name
        # By name too: two views may have the name of one method, and the class keeps the last.
        if id(view) in functions or name.startswith(prefixes):
            _make_anew(route, view, kind)


def _make_anew(route: Any, view: Any, kind: type) -> None:
    if not hasattr(route, "dependant"):  # plain Starlette: its views take a request and no self
        raise TypeError(
            f"{kind.__name__}.{view.__name__} is a route of {type(route).__name__}, which knows "
            "no methods; use FastAPI, or make the view a function outside of the class"
        )
    bound = _without_self(view)
    setattr(bound, _OWNER, kind)
    known = inspect.signature(type(route).__init__).parameters
    fields = {n: getattr(route, n) for n in known if n not in ("self",) and hasattr(route, n)}
    route.__init__(**{**fields, "endpoint": bound})
