"""An import path -> an Application, with options in place of those in the code.

Code that was imported before is imported anew, and goes to replicas by value: a file that has
changed since is what runs. It starts nothing.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # ships no types

from heliostat.serve._by_path import split
from heliostat.serve.deploy_schema import DeploymentSchema, ServeApplicationSchema
from heliostat.serve.deployment import Application

_imported: set[str] = set()


def load(schema: ServeApplicationSchema) -> Application:
    """The application that a config describes.

    Raises:
        ValueError: When there is nothing at the path, or it is no application, or an option is
            for a deployment that it does not have; says which there are.
        Exception: What the module or the function raises.
    """
    module_name, name = split(schema.import_path)
    if module_name in _imported:
        sys.modules.pop(module_name, None)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise  # a module that the user's own imports
        raise ValueError(
            f"import_path {schema.import_path!r}: there is no module {error.name!r} in {sys.path[:3]}"
        ) from error
    _imported.add(module_name)
    cloudpickle.register_pickle_by_value(module)
    if not hasattr(module, name):
        raise ValueError(f"import_path {schema.import_path!r}: {module_name} has no {name!r}")
    app = _application(getattr(module, name), schema)
    left = {each.name for each in schema.deployments}
    changed: Application = _changed(app, schema, {}, left)
    if left:
        known = sorted({one.deployment.name for one in _walk(app)})
        raise ValueError(f"application {schema.name!r} has no deployments {sorted(left)}: {known}")
    return changed


def names_of(app: Application) -> list[Application]:
    """All applications in a graph, inner ones first, each once."""
    return list(dict.fromkeys(_walk(app)))


def _application(value: Any, schema: ServeApplicationSchema) -> Application:
    if not isinstance(value, Application) and callable(value):
        value = value(*_builder_arguments(value, schema.args))
    elif schema.args:
        raise ValueError(
            f"application {schema.name!r} takes no args: {schema.import_path!r} is an application "
            "already; args are for a function that makes one"
        )
    if not isinstance(value, Application):
        raise ValueError(
            f"import_path {schema.import_path!r} must lead to what .bind() returns, or to a "
            f"function that returns that; got {type(value).__name__}"
        )
    return value


def _builder_arguments(function: Any, args: Mapping[str, Any]) -> tuple[Any, ...]:
    """One argument: the args as a dict, or as the pydantic model that it is annotated with."""
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        if args:
            raise ValueError(f"{function.__name__}() takes no args, got {dict(args)}")
        return ()
    kind: Any = typing.get_type_hints(function).get(parameters[0].name)
    if hasattr(kind, "model_validate"):
        return (kind.model_validate(dict(args)),)
    return (dict(args),)


def _walk(value: Any) -> list[Application]:
    if isinstance(value, Application):
        inner = [one for part in (*value.args, *value.kwargs.values()) for one in _walk(part)]
        return [*inner, value]
    if type(value) in (list, tuple, set):
        return [one for part in value for one in _walk(part)]
    if type(value) is dict:
        return [one for part in value.values() for one in _walk(part)]
    return []


def _changed(
    value: Any, schema: ServeApplicationSchema, done: dict[int, Any], left: set[str]
) -> Any:
    """The same graph with other options; an application that occurs twice stays one."""
    if type(value) in (list, tuple, set):
        return type(value)(_changed(part, schema, done, left) for part in value)
    if type(value) is dict:
        return {key: _changed(part, schema, done, left) for key, part in value.items()}
    if not isinstance(value, Application):
        return value
    if id(value) not in done:
        options = _options(value, schema.deployments, schema.runtime_env)
        left.discard(value.deployment.name)
        done[id(value)] = replace(
            value,
            deployment=value.deployment.options(**options),
            args=_changed(value.args, schema, done, left),
            kwargs=_changed(dict(value.kwargs), schema, done, left),
        )
    return done[id(value)]


def _options(
    app: Application, schemas: typing.Sequence[DeploymentSchema], runtime_env: Mapping[str, Any]
) -> dict[str, Any]:
    name = app.deployment.name
    options = next((dict(each.options) for each in schemas if each.name == name), {})
    if runtime_env:
        own = dict(options.get("ray_actor_options") or app.deployment.ray_actor_options)
        own.setdefault("runtime_env", dict(runtime_env))
        options["ray_actor_options"] = own
    return options
