"""Serve: replicas of user code behind HTTP and Python handles.

The map: `deployment.py` is what users write down; `api.py` runs it; `_build.py` turns a graph of
applications into specs; `_controller.py` drives `_state.py` and makes replicas (`_replica.py`),
which run `_user_code.py`; `handle.py` calls them through `_dispatch.py` and `_router.py`; over HTTP
`_acceptor.py` owns the port and gives connections to replicas (`_connections.py`), where
`_proxy.py` meets each request. In deployments: `_views.py` (ingress), `batching.py` and
`multiplex.py`. For tests of users' code: `testing.py`, all in one process (`_local.py`).
"""

try:
    import httptools as _httptools  # noqa: F401
    import starlette as _starlette  # noqa: F401
    import uvicorn as _uvicorn  # noqa: F401
    import websockets as _websockets  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"heliostat.serve needs {error.name}; install it with: pip install 'heliostat[serve]'"
    ) from error

from heliostat.serve import exceptions, schema
from heliostat.serve._deployment_actors import (
    get_deployment_actor,
    get_deployment_actor_context,
)
from heliostat.serve._views import ingress
from heliostat.serve.api import (
    RunTarget,
    delete,
    get_app_handle,
    get_deployment_handle,
    run,
    run_many,
    shutdown,
    shutdown_async,
    start,
    status,
)
from heliostat.serve.autoscaling import AutoscalingConfig
from heliostat.serve.batching import batch
from heliostat.serve.checkpoint import from_checkpoint
from heliostat.serve.context import (
    ReplicaContext,
    get_multiplexed_model_id,
    get_replica_context,
    get_trace_context,
)
from heliostat.serve.deployment import Application, Deployment, deployment
from heliostat.serve.handle import (
    DeploymentHandle,
    DeploymentResponse,
    DeploymentResponseGenerator,
)
from heliostat.serve.multiplex import multiplexed
from heliostat.serve.server_options import ControllerOptions, HTTPOptions, TracingConfig
from heliostat.serve.testing import test_client

__all__ = [
    "Application",
    "AutoscalingConfig",
    "ControllerOptions",
    "Deployment",
    "DeploymentHandle",
    "DeploymentResponse",
    "DeploymentResponseGenerator",
    "HTTPOptions",
    "ReplicaContext",
    "RunTarget",
    "TracingConfig",
    "batch",
    "delete",
    "deployment",
    "exceptions",
    "from_checkpoint",
    "get_app_handle",
    "get_deployment_actor",
    "get_deployment_actor_context",
    "get_deployment_handle",
    "get_multiplexed_model_id",
    "get_replica_context",
    "get_trace_context",
    "ingress",
    "multiplexed",
    "run",
    "run_many",
    "schema",
    "shutdown",
    "shutdown_async",
    "start",
    "status",
    "test_client",
]
