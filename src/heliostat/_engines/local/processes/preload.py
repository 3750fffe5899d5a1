"""Which of the libraries that the driver has imported are imported in the zygote, too.

Installed packages only: importing them again has no effect that the driver's import had not. The
user's own modules are left to the workers that need them: they may do work when they are
imported, and change between one fork and the next.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType

_VARIABLE = "HELIOSTAT_PRELOAD"

# Libraries that are never imported before a fork, and why.
UNSAFE = {
    # They start threads, or talk to another process, when they are imported.
    "cupy": "initialises CUDA",
    "distributed": "starts threads",
    "grpc": "has threads that a fork does not survive",
    "jax": "has threads that a fork does not survive",
    "jaxlib": "has threads that a fork does not survive",
    "lance": "has threads that a fork does not survive, and warns of it at every fork",
    "mpi4py": "initialises MPI, once a process",
    "polars": "has threads that a fork does not survive",
    "pycuda": "initialises CUDA",
    "pyspark": "talks to a Java process",
    "ray": "starts threads",
    "tensorflow": "has threads that a fork does not survive",
    "torch_xla": "talks to a device",
    "wandb": "starts a process",
    "zmq": "has contexts that a fork does not survive",
    # They belong to the driver, and no worker needs them.
    "IPython": "is the driver's shell",
    "_pytest": "tests the driver",
    "coverage": "measures the driver",
    "debugpy": "debugs the driver",
    "hypothesis": "tests the driver",
    "ipykernel": "is the driver's shell",
    "mypy": "checks code",
    "pip": "installs packages",
    "pkg_resources": "installs packages",
    "pluggy": "tests the driver",
    "pytest": "tests the driver",
    "setuptools": "installs packages",
}
# What a library imports at its first use, which is as slow as the library itself: PyTorch compiles
# parts of each optimizer, whether asked to or not.
LATE = {"heliostat.train.torch": ("torch._dynamo",)}
# Names of these libraries load when they are touched; where the first of each pair is, workers run
# the second.
WORKERS = {
    "heliostat.train._controller": "heliostat.train._worker",
    "heliostat.tune._loop": "heliostat.tune._trial_actor",
}
_STANDARD = ("asyncio",)  # of the standard library: what is slow to import
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class Preloads:
    """What to import in zygotes, as the driver imports more and more."""

    def __init__(self) -> None:
        asked = os.environ.get(_VARIABLE, "1")
        self._only = None if asked in ("", "1") else {name.strip() for name in asked.split(",")}
        self._banned: set[str] = set()
        self.seen = 0

    def wanted(self) -> list[str]:
        """Names of modules, in the order in which the driver has imported them; libraries first."""
        self.seen = len(sys.modules)
        wanted = [
            name
            for name, module in list(sys.modules.items())
            if self._is_wanted(name) and (_is_ours(name) or _is_installed(name, module))
        ]
        # `sys.modules` has a library after the parts that its own file imports. It goes first, so
        # that one that may not be forked is tried once, not with each part.
        pairs = [(name.partition(".")[0], name) for name in wanted]
        found = set(wanted)
        wanted = list(dict.fromkeys(one for pair in pairs for one in pair if one in found))
        wanted += [
            part
            for driver, part in WORKERS.items()
            if driver in sys.modules and part not in self._banned
            if self._is_wanted(driver.rpartition(".")[0])
        ]
        wanted += [
            late
            for name, more in LATE.items()
            for late in more
            if name in sys.modules and late.partition(".")[0] in wanted
            if late not in self._banned
        ]
        return wanted

    def allowed(self, names: Sequence[str]) -> Sequence[str]:
        """These and what they import late, unless one may not be: others may import it."""
        late = [more for name in names for more in LATE.get(name, ())]
        return [*names, *late] if all(map(self._may_be, names)) else ()

    def _may_be(self, name: str) -> bool:
        top, _, _ = name.partition(".")
        if top in UNSAFE or top in self._banned or name in self._banned:
            return False
        return self._only is None or top in self._only

    def _is_wanted(self, name: str) -> bool:
        top, _, rest = name.partition(".")
        if not self._may_be(name):
            return False
        # The deeper ones come with these, as far as they are part of what a library is used for.
        return not top.startswith("_") and not rest.startswith("_") and "." not in rest

    def ban(self, names: Iterable[str]) -> bool:
        """Leave these out from now on; whether that is news."""
        new = set(names) - self._banned
        self._banned |= new
        self.seen = 0
        return bool(new)


def _is_ours(name: str) -> bool:
    return name in _STANDARD or (
        name.startswith("heliostat.") and name.split(".")[1] in ("data", "train", "tune", "serve")
    )


def _is_installed(name: str, module: ModuleType | None) -> bool:
    path = getattr(module, "__file__", None)
    spec = getattr(module, "__spec__", None)
    return (
        isinstance(path, str)
        and any(part in path for part in _INSTALLED)
        and getattr(spec, "name", None) == name  # otherwise it is another name of some module
        and not name.endswith(".__main__")
    )
