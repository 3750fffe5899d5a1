"""What this machine knows of its TPUs: from the environment, its devices, and Google's metadata.

On a machine of GKE the environment says it; on one of Google's TPU VMs a server beside the machine,
which is only asked where there are chips. Nobody else is asked.
"""

import contextlib
import logging
import os
import re
import urllib.error
import urllib.request
from pathlib import Path

from heliostat.util.tpu._topology import size_of_pod

__all__ = [
    "get_current_pod_name",
    "get_current_pod_worker_count",
    "get_num_tpu_chips_on_node",
    "init_jax_profiler",
]

DEVICES = Path("/dev")
GROUPS = Path("/sys/kernel/iommu_groups")
GOOGLE = "0x1ae0"  # as devices on the bus name their maker
METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/"
ANSWER_S = 2.0
PROFILER_PORT = "9999"

_log = logging.getLogger(__name__)


def get_num_tpu_chips_on_node() -> int:
    """How many TPU chips this machine has; 0 where there are none.

    Example:
        >>> get_num_tpu_chips_on_node()
        0
    """
    # A folder of this name is made by drivers of graphics cards.
    chips = [file for file in DEVICES.glob("accel*") if not file.is_dir()]
    if chips:
        return len(chips)
    groups = [file.name for file in (DEVICES / "vfio").glob("*") if file.name.isdecimal()]
    return sum(map(_is_a_tpu, groups))


def _is_a_tpu(group: str) -> bool:
    makers = (GROUPS / group / "devices").glob("*/vendor")
    return any(file.read_text().strip().lower() == GOOGLE for file in makers)


def get_current_pod_name() -> str | None:
    """The name of the TPU pod that this machine is part of, or None.

    Example:
        >>> get_current_pod_name()
    """
    return os.environ.get("TPU_NAME") or _metadata("instance-id")


def get_current_pod_worker_count() -> int | None:
    """How many machines the TPU pod has that this one is part of, or None.

    Example:
        >>> get_current_pod_worker_count()
    """
    pod = os.environ.get("TPU_ACCELERATOR_TYPE") or _metadata("accelerator-type")
    if not pod or re.fullmatch(r"(v|tpu)\d+[a-zA-Z]*-\d+", pod) is None:
        return None
    version = re.sub("^tpu", "v", pod)
    return size_of_pod(version, get_num_tpu_chips_on_node())


def _metadata(key: str) -> str | None:
    """What the server beside a TPU VM says; no other machine is asked."""
    if not get_num_tpu_chips_on_node():
        return None
    request = urllib.request.Request(METADATA + key, headers={"Metadata-Flavor": "Google"})
    with (
        contextlib.suppress(urllib.error.URLError, TimeoutError, OSError),
        urllib.request.urlopen(request, timeout=ANSWER_S) as answer,
    ):
        return answer.read().decode() or None
    return None


def init_jax_profiler(port: int | None = None) -> None:
    """Let JAX's profiler listen in this process, as `jax.profiler.start_server` does.

    Without JAX, or where the port is taken, a warning says so and nothing else happens.

    Args:
        port: Where; if not said, JAX_PROFILER_PORT or 9999.
    """
    try:
        import jax  # noqa: PLC0415 - optional
    except ImportError:
        _log.warning("JAX is not installed, so its profiler does not listen; pip install jax")
        return
    try:
        jax.profiler.start_server(int(port or os.environ.get("JAX_PROFILER_PORT", PROFILER_PORT)))
    except (RuntimeError, ValueError) as error:
        _log.warning("JAX's profiler does not listen: %s", error)
