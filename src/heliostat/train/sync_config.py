"""SyncConfig: what older code says about copies to remote storage. They need no settings."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SyncConfig:
    """How results would be copied to remote storage. They go there by themselves, as they are written.

    Args:
        sync_period: Seconds between two copies.
        sync_timeout: Seconds a copy may take.
        sync_artifacts: Whether files that trials write are copied.
        sync_artifacts_on_checkpoint: Whether they are copied with each checkpoint.

    Example:
        >>> SyncConfig().sync_period
        300
    """

    sync_period: int = 300
    sync_timeout: int = 1800
    sync_artifacts: bool = False
    sync_artifacts_on_checkpoint: bool = True
