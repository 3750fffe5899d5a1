"""@deployment, Deployment and Application: what a user writes down before anything runs.

Values only: `_build.py` turns an Application into specs, the controller makes them run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, overload

from heliostat.serve.config import BackpressureConfig, DeploymentConfig
from heliostat.serve.logging_config import LoggingConfig


@dataclass(frozen=True, eq=False)
class Application:
    """A deployment with its constructor's arguments; made by `Deployment.bind`.

    An argument may itself be an Application: it arrives in the constructor as a
    DeploymentHandle. Two Applications are the same only if they are one object.
    """

    deployment: Deployment
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Deployment:
    """A class or function that replicas can be made of; made by `@serve.deployment`.

    Calling it raises: use `.bind()` and `serve.run`, or call the original through
    `.func_or_class`.
    """

    func_or_class: Callable[..., Any]
    name: str
    config: DeploymentConfig

    @property
    def num_replicas(self) -> int:
        """How many replicas are wanted."""
        return self.config.num_replicas

    @property
    def max_ongoing_requests(self) -> int:
        """How many requests one replica works on at a time."""
        return self.config.max_ongoing_requests

    @property
    def max_queued_requests(self) -> int:
        """How many requests may wait in one caller; -1 is any number."""
        return self.config.max_queued_requests

    @property
    def user_config(self) -> Any:
        """What `reconfigure` is called with."""
        return self.config.user_config

    @property
    def ray_actor_options(self) -> Mapping[str, Any]:
        """Resources of each replica."""
        return self.config.ray_actor_options

    @property
    def backpressure_config(self) -> BackpressureConfig | None:
        """What a client gets that is refused because of `max_queued_requests`."""
        return self.config.backpressure_config

    @property
    def logging_config(self) -> LoggingConfig | None:
        """What its replicas log, how and where; None: as the application, or all of Serve."""
        return self.config.logging_config

    def set_logging_config(self, logging_config: LoggingConfig | Mapping[str, Any]) -> None:
        """Change it in place; `.options(logging_config=...)` gives a copy.

        Raises:
            TypeError: For something else than a LoggingConfig or a dict of its fields.
        """
        changed = self.config.with_options({"logging_config": logging_config})
        object.__setattr__(self, "config", changed)

    @property
    def version(self) -> str | None:
        """The code's version; replicas of the same version are kept by `serve.run`."""
        return self.config.version

    @property
    def init_args(self) -> tuple[Any, ...]:
        """None: `bind` gives its constructor's arguments to the Application that it makes."""
        return ()

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """None: `bind` gives its constructor's arguments to the Application that it makes."""
        return {}

    def bind(self, *args: Any, **kwargs: Any) -> Application:
        """This deployment with its constructor's arguments, ready for `serve.run`.

        Args:
            *args: For the constructor; an Application arrives as a DeploymentHandle.
            **kwargs: The same by name.

        Returns:
            An Application.

        Raises:
            TypeError: When the constructor does not take these arguments.

        Example:
            >>> from heliostat import serve
            >>> @serve.deployment
            ... class Greeter:
            ...     def __init__(self, word): self.word = word
            >>> Greeter.bind("hello").args
            ('hello',)
        """
        self._check_arguments(args, kwargs)
        return Application(self, args, kwargs)

    def options(self, *, name: str | None = None, **options: Any) -> Deployment:
        """A copy with some options replaced; takes what `@serve.deployment` takes.

        Raises:
            TypeError: For an unknown option.
            NotImplementedError: For options of Ray that are not offered yet.

        Example:
            >>> from heliostat import serve
            >>> @serve.deployment
            ... class Echo: ...
            >>> Echo.options(num_replicas=2).num_replicas
            2
        """
        return replace(
            self, name=_name(name or self.name), config=self.config.with_options(options)
        )

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Always raises: requests go to replicas, through a handle or HTTP."""
        raise RuntimeError(
            f"a deployment is not called directly; use {self.name}.bind(...) and serve.run(), "
            f"or {self.name}.func_or_class(...) for the plain object"
        )

    def __repr__(self) -> str:
        return f"Deployment(name={self.name})"

    def _check_arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not inspect.isclass(self.func_or_class):
            if args or kwargs:
                raise TypeError(
                    f"{self.name} is a function: .bind() takes no arguments, since each request "
                    "is its argument; use a class with a constructor"
                )
            return
        try:
            signature = inspect.signature(self.func_or_class)
        except (ValueError, TypeError):  # some classes in C have none
            return
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}.bind(): {error}; it takes {signature}") from None


@overload
def deployment(_func_or_class: Callable[..., Any], /) -> Deployment: ...
@overload
def deployment(
    _func_or_class: None = None, /, *, name: str | None = None, **options: Any
) -> Callable[[Callable[..., Any]], Deployment]: ...
def deployment(
    _func_or_class: Callable[..., Any] | None = None, /, *, name: str | None = None, **options: Any
) -> Deployment | Callable[[Callable[..., Any]], Deployment]:
    """Make a class or function deployable; with or without options.

    Args:
        name: The deployment's name; the class's unless given.
        **options: version, num_replicas, ray_actor_options, user_config, max_ongoing_requests,
            max_queued_requests, graceful_shutdown_wait_loop_s, graceful_shutdown_timeout_s,
            health_check_period_s, health_check_timeout_s, max_constructor_retry_count,
            autoscaling_config, backpressure_config, request_router_config, logging_config. `num_replicas="auto"` is autoscaling between
            1 and 100 replicas.

    Returns:
        A Deployment, or a decorator that makes one.

    Raises:
        TypeError: For an unknown option, or something that is neither class nor function.
        NotImplementedError: For options of Ray that are not offered yet.

    Example:
        >>> from heliostat import serve
        >>> @serve.deployment(num_replicas=2)
        ... class Echo:
        ...     async def __call__(self, request): return await request.json()
        >>> Echo.name
        'Echo'
    """
    config = DeploymentConfig().with_options(options)

    def decorate(func_or_class: Callable[..., Any]) -> Deployment:
        if isinstance(func_or_class, Deployment):
            raise TypeError(f"{func_or_class!r} is a deployment already; use .options(...)")
        if not callable(func_or_class) or not hasattr(func_or_class, "__name__"):
            raise TypeError(
                f"@serve.deployment takes a class or function, got {func_or_class!r}; each replica "
                "makes an object of its own, with the arguments of .bind()"
            )
        return Deployment(func_or_class, _name(name or func_or_class.__name__), config)

    return decorate if _func_or_class is None else decorate(_func_or_class)


def _name(name: str) -> str:
    if not isinstance(name, str) or not name or "#" in name:
        raise ValueError(f"a deployment's name is a string without '#', got {name!r}")
    return name
