"""The version, read by the build and by `heliostat --version`."""

__version__ = "0.1.0"
