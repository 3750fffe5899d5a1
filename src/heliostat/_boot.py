"""Which start of the machine this is. Knows nothing of who asks."""

import functools
from pathlib import Path


@functools.cache
def boot_id() -> str:
    """What tells this start of the machine from others; nothing where nobody says.

    Example:
        >>> boot_id() == boot_id()
        True
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
