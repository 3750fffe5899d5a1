"""TuneError: what a study raises when it cannot go on. A failed trial alone does not raise."""

from heliostat.exceptions import RayError


class TuneError(RayError):
    """A study cannot start or cannot go on."""
