"""Serve: replicas of user code behind HTTP and Python handles.

The map: `deployment.py` is what users write down; `api.py` runs it; `_build.py` turns a graph of
applications into specs; `_controller.py` drives `_state.py` and makes replicas (`_replica.py`);
`handle.py` calls them through `_dispatch.py` and `_router.py`; over HTTP `_acceptor.py` owns the
port and gives connections to replicas (`_connections.py`), where `_proxy.py` meets each request.
"""

try:
    import httptools as _httptools  # noqa: F401
    import starlette as _starlette  # noqa: F401
    import uvicorn as _uvicorn  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"heliostat.serve needs {error.name}; install it with: pip install 'heliostat[serve]'"
    ) from error

from heliostat.serve import exceptions, schema
from heliostat.serve.api import (
    delete,
    get_app_handle,
    get_deployment_handle,
    run,
    shutdown,
    start,
    status,
)
from heliostat.serve.config import AutoscalingConfig, HTTPOptions
from heliostat.serve.context import ReplicaContext, get_replica_context
from heliostat.serve.deployment import Application, Deployment, deployment
from heliostat.serve.handle import DeploymentHandle, DeploymentResponse

__all__ = [
    "Application",
    "AutoscalingConfig",
    "Deployment",
    "DeploymentHandle",
    "DeploymentResponse",
    "HTTPOptions",
    "ReplicaContext",
    "delete",
    "deployment",
    "exceptions",
    "get_app_handle",
    "get_deployment_handle",
    "get_replica_context",
    "run",
    "schema",
    "shutdown",
    "start",
    "status",
]
