"""Processes born with this folder on their path cannot import Heliostat, wherever it is installed."""

import sys


class Hidden:
    """A finder that says so."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "heliostat":
            raise ModuleNotFoundError("No module named 'heliostat'", name=name)


sys.meta_path.insert(0, Hidden)
