"""How an application is, as its deployments are. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from heliostat.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
)


def overview_of(
    overviews: Mapping[str, DeploymentStatusOverview],
    wanted: Iterable[str],
    deployed_at: float,
    *,
    deleting: bool,
) -> ApplicationStatusOverview:
    """The worst that can be said of a deployment is said of the application.

    Args:
        overviews: Those of all its deployments, former ones that still end among them.
        wanted: The names of those it is made of now.
        deployed_at: When it was deployed.
        deleting: Whether it is on its way out.
    """
    states = {overviews[name].status for name in wanted if name in overviews}
    message = ""
    if deleting:
        status = ApplicationStatus.DELETING
    elif DeploymentStatus.DEPLOY_FAILED in states:
        status = ApplicationStatus.DEPLOY_FAILED
        message = "\n".join(
            f"deployment {name!r} failed: {overview.message}"
            for name, overview in overviews.items()
            if overview.status == DeploymentStatus.DEPLOY_FAILED
        )
    elif DeploymentStatus.UPDATING in states:
        status = ApplicationStatus.DEPLOYING
    elif DeploymentStatus.UNHEALTHY in states:
        status = ApplicationStatus.UNHEALTHY
    else:
        status = ApplicationStatus.RUNNING
    return ApplicationStatusOverview(status, message, deployed_at, dict(overviews))
