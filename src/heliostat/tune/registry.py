"""Trainables and environments by name, for programs that read names from their options."""

from collections.abc import Callable
from typing import Any

_trainables: dict[str, Any] = {}
_environments: dict[str, Callable[..., Any]] = {}


def register_trainable(name: str, trainable: Any, warn: bool = True) -> None:
    """Give a trainable a name, under which `Tuner` and `tune.run` find it in this process.

    Args:
        name: The name.
        trainable: A function of the config or a Trainable class.
        warn: Taken for Ray's sake; there is nothing to warn of.

    Raises:
        TypeError: It is neither.

    Example:
        >>> from heliostat import tune
        >>> tune.register_trainable("parabola", lambda config: {"loss": config["x"] ** 2})
    """
    if not callable(trainable):
        raise TypeError(
            f"a trainable is a function of the config or a Trainable class, got {trainable!r}"
        )
    _trainables[name] = trainable


def get_trainable(name: str) -> Any:
    """What was registered under a name.

    Args:
        name: The name.

    Returns:
        The trainable.

    Raises:
        ValueError: There is none; the message has those there are.

    Example:
        >>> register_trainable("constant", lambda config: {"loss": 1})
        >>> get_trainable("constant")({})
        {'loss': 1}
    """
    if name not in _trainables:
        known = ", ".join(map(repr, sorted(_trainables))) or "none"
        raise ValueError(
            f"no trainable is registered as {name!r}; registered are: {known}. "
            "Call tune.register_trainable(name, trainable) first"
        )
    return _trainables[name]


def register_env(name: str, env_creator: Callable[..., Any]) -> None:
    """Give a function that makes an environment a name, for code of reinforcement learning.

    Args:
        name: The name.
        env_creator: Takes the environment's config and returns an environment.

    Raises:
        TypeError: It is no function.

    Example:
        >>> from heliostat import tune
        >>> tune.register_env("corridor", lambda config: list(range(config["length"])))
    """
    if not callable(env_creator):
        raise TypeError(f"env_creator must be a function of the config, got {env_creator!r}")
    _environments[name] = env_creator


def get_env(name: str) -> Callable[..., Any]:
    """The function that was registered under a name.

    Args:
        name: The name.

    Returns:
        The function.

    Raises:
        ValueError: There is none.

    Example:
        >>> register_env("empty", lambda config: [])
        >>> get_env("empty")({})
        []
    """
    if name not in _environments:
        raise ValueError(f"no environment is registered as {name!r}; call tune.register_env first")
    return _environments[name]
