"""TPUs: what this machine has, how slices are counted, and tasks on every host of one; `ray.util.tpu`."""

from heliostat.util.tpu._host import (
    get_current_pod_name,
    get_current_pod_worker_count,
    get_num_tpu_chips_on_node,
    init_jax_profiler,
)
from heliostat.util.tpu._slices import (
    SlicePlacementGroup,
    dispatch,
    get_num_ready_tpu_slices,
    get_tpu_nodes_for_slice,
    get_tpu_slice_name_from_node,
    run_on_slice,
    slice_placement_group,
)
from heliostat.util.tpu._topology import (
    get_tpu_coordinator_env_vars,
    get_tpu_num_slices_for_workers,
    get_tpu_version_from_type,
    get_tpu_worker_resources,
)

__all__ = [
    "SlicePlacementGroup",
    "dispatch",
    "get_current_pod_name",
    "get_current_pod_worker_count",
    "get_num_ready_tpu_slices",
    "get_num_tpu_chips_on_node",
    "get_tpu_coordinator_env_vars",
    "get_tpu_nodes_for_slice",
    "get_tpu_num_slices_for_workers",
    "get_tpu_slice_name_from_node",
    "get_tpu_version_from_type",
    "get_tpu_worker_resources",
    "init_jax_profiler",
    "run_on_slice",
    "slice_placement_group",
]
