"""Types for annotations, and constants of Ray's that some programs compare with."""

import enum

from heliostat._core.refs import ObjectRef

__all__ = ["SCRIPT_MODE", "WORKER_MODE", "Language", "ObjectRef"]

SCRIPT_MODE = 0  # of a driver
WORKER_MODE = 1  # of a worker process


class Language(enum.Enum):
    """The language of remote code, which is Python.

    Example:
        >>> Language.PYTHON.name
        'PYTHON'
    """

    PYTHON = 0
