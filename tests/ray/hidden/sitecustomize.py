"""Processes born with this folder on their path cannot import Heliostat, wherever it is installed.

With HELIOSTAT_HIDDEN=installed they can, once a session has brought its own along.
"""

import os
import sys


class Hidden:
    """A finder that says so."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        brought = any("py_modules_files" in entry for entry in sys.path)
        if name == "heliostat" and not (brought and os.environ["HELIOSTAT_HIDDEN"] == "installed"):
            raise ModuleNotFoundError("No module named 'heliostat'", name=name)


sys.meta_path.insert(0, Hidden)
