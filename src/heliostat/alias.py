"""Let a program that says `import ray` run on Heliostat, from within the program.

`heliostat run script.py` does the same from outside, with no change to the program.
"""

import os

import heliostat
from heliostat import _alias

__all__ = ["install"]


def install() -> None:
    """Make `import ray` and `import ray.x` find Heliostat, here and in its worker processes.

    Call it before the first `import ray` and before `heliostat.init()`. A second call does
    nothing.

    Raises:
        RuntimeError: The real Ray has been imported already, or Heliostat's workers have started
            without the alias.

    Example:
        >>> import heliostat.alias
        >>> heliostat.alias.install()
        >>> import ray
        >>> ray is heliostat
        True
    """
    if heliostat.is_initialized() and os.environ.get(_alias.ENVIRONMENT) != "1":
        raise RuntimeError(
            "Heliostat's workers have started already, and `import ray` would fail in them; "
            "call heliostat.alias.install() before heliostat.init()"
        )
    _alias.install()
