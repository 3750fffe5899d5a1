"""An Application graph -> the specs of its deployments. Pure: no actor is made here.

Inner applications become handles; the rest of an argument is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from heliostat.serve._call import Sender
from heliostat.serve.config import DeploymentConfig
from heliostat.serve.deployment import Application, Deployment
from heliostat.serve.handle import DeploymentHandle


@dataclass(frozen=True)
class Node:
    """One deployment of an application, ready to be made: handles instead of inner applications."""

    name: str
    target: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    config: DeploymentConfig


def build(
    app: Application, app_name: str, sender: Callable[[str], Sender] | None = None
) -> list[Node]:
    """The deployments of an application, inner ones first, the ingress last.

    Args:
        app: What `.bind()` returned.
        app_name: The application's name.
        sender: Where a deployment's handle sends its calls; to replicas, unless given.

    Raises:
        TypeError: When `app` is not an Application.

    Example:
        >>> from heliostat import serve
        >>> @serve.deployment
        ... class Echo: ...
        >>> [node.name for node in build(Echo.bind(), "default")]
        ['Echo']
    """
    if isinstance(app, Deployment):
        raise TypeError(f"serve.run takes an application; use {app.name}.bind()")
    if not isinstance(app, Application):
        raise TypeError(f"serve.run takes an application made by .bind(), got {app!r}")
    builder = _Builder(app_name, sender)
    builder.handle_of(app)
    return builder.nodes


@dataclass
class _Builder:
    app_name: str
    sender: Callable[[str], Sender] | None = None
    nodes: list[Node] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def handle_of(self, app: Application) -> DeploymentHandle:
        name = self.names.get(id(app))
        if name is None:
            name = self.free_name(app.deployment.name)
            self.names[id(app)] = name
            self.nodes.append(
                Node(
                    name,
                    app.deployment.func_or_class,
                    tuple(self.resolve(arg) for arg in app.args),
                    {key: self.resolve(arg) for key, arg in app.kwargs.items()},
                    app.deployment.config,
                )
            )
        dispatch = None if self.sender is None else self.sender(name)
        return DeploymentHandle(name, self.app_name, dispatch=dispatch)

    def free_name(self, name: str) -> str:
        """Two deployments of one name in an application: the later ones get _1, _2, ..."""
        free, count = name, 0
        while free in self.taken:
            count += 1
            free = f"{name}_{count}"
        self.taken.add(free)
        return free

    def resolve(self, value: Any) -> Any:
        """The value with applications in plain containers replaced by handles."""
        if isinstance(value, Application):
            return self.handle_of(value)
        if type(value) in (list, tuple, set):
            return type(value)(self.resolve(item) for item in value)
        if type(value) is dict:
            return {key: self.resolve(item) for key, item in value.items()}
        return value
