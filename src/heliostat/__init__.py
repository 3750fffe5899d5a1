"""Heliostat: Ray's AI libraries on a fast embedded engine for one machine."""

from heliostat._version import __version__

__all__ = ["__version__"]
