"""The import hook that lets `import ray` find Heliostat.

`ray` and `ray.x` become other names of the very modules `heliostat` and `heliostat.x`: there is
one module object, whichever name it was imported by. What Heliostat lacks is an ImportError or
AttributeError that says so. Whether the real Ray is installed makes no difference.

Knows the import system and nothing of Heliostat's parts. Worker processes install it too, when
`HELIOSTAT_ALIAS_RAY=1`; users call `heliostat.alias.install()`.

The engine on a Ray cluster needs the real Ray in the same process, which finds itself by its name:
`share` then gives the name to it, and Heliostat to everybody else who imports it.
"""

import builtins
import importlib
import importlib.util
import opcode
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

OURS, THEIRS = "heliostat", "ray"
ENVIRONMENT = "HELIOSTAT_ALIAS_RAY"
_MISSING = object()

# What people reach for and will not find, with the way that is there instead.
INSTEAD = {
    "rllib": "there is no reinforcement learning library; run this program with Ray itself",
    "workflow": "Ray has removed it; write tasks that pass references to each other",
    "cluster_utils": "there is one node, this machine; "
    "`ray.init(num_cpus=..., resources={...})` says how large, and a test may start many sessions",
}

# The same below the first level.
INSIDE = {
    "ray.air.session": "use `ray.train` (report, get_checkpoint, get_context), or `ray.tune` in a trial",
}


def install() -> None:
    """Let `import ray` find Heliostat in this process and the workers it will start.

    A second call does nothing.

    Raises:
        RuntimeError: The real Ray has been imported already.
    """
    if installed():
        return
    present = sys.modules.get(THEIRS)
    if present is not None and present is not sys.modules.get(OURS):
        where = getattr(present, "__file__", None) or "an unknown place"
        raise RuntimeError(
            f"ray is imported already, from {where}; "
            "call heliostat.alias.install() before the first `import ray`"
        )
    sys.meta_path.insert(0, _Finder())
    os.environ[ENVIRONMENT] = "1"


def installed() -> bool:
    """Whether programs in this process that import `ray` get Heliostat."""
    finds = any(isinstance(finder, _Finder) for finder in sys.meta_path)
    return finds or isinstance(builtins.__import__, _Diversion)


def share() -> None:
    """Where `ray` is our alias, let Ray itself have its name, and its own imports of it.

    What anybody else imports as `ray` stays Heliostat.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    for name in [name for name in sys.modules if _is_theirs(name)]:
        module = sys.modules[name]
        if isinstance(module, _Inner) or not _is_theirs(module.__name__):
            del sys.modules[name]
    divert()


def divert() -> None:
    """Give Heliostat to everybody but Ray who imports `ray`, though Ray has been imported."""
    if not isinstance(builtins.__import__, _Diversion):
        builtins.__import__ = _Diversion(builtins.__import__)


def _is_theirs(name: str) -> bool:
    return name == THEIRS or name.startswith(f"{THEIRS}.")


class _Diversion:
    """What an import statement calls: the same, but for the name of what others than Ray import."""

    def __init__(self, original: Callable[..., Any]) -> None:
        self._original = original

    def __call__(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if level or not _is_theirs(name) or _is_theirs(str((globals or {}).get("__name__"))):
            return self._original(name, globals, locals, fromlist, level)
        ours = _inner().HOMES.get(name, OURS + name.removeprefix(THEIRS))
        private = any(part.startswith("_") for part in name.split("."))
        if private or importlib.util.find_spec(ours) is None:
            raise ModuleNotFoundError(_lack(name), name=name)
        found = self._original(ours, globals, locals, fromlist, level)
        if not ours.startswith(OURS):
            return found
        _explain_missing_names(sys.modules[ours])
        _explain_missing_names(sys.modules[OURS])
        return found


class _Finder:
    """Answers for `ray` and all below it, so that no other finder is asked."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != THEIRS and not fullname.startswith(f"{THEIRS}."):
            return None
        ours = OURS + fullname.removeprefix(THEIRS)
        private = any(part.startswith("_") for part in fullname.split("."))
        if private or importlib.util.find_spec(ours) is None:
            raise ModuleNotFoundError(_lack(fullname), name=fullname)
        # importlib.abc, which has the base class, takes longer to import than all of this file.
        return ModuleSpec(fullname, _Loader(ours))  # type: ignore[arg-type]  # not a subclass


class _Loader:
    """Loads nothing anew: hands out the module that Heliostat has under its own name."""

    def __init__(self, ours: str) -> None:
        self._ours = ours
        self._own_spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._ours)
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just written the alias's spec over the module's own.
        module.__spec__ = self._own_spec
        _explain_missing_names(module)
        _open(THEIRS + module.__name__.removeprefix(OURS), module)


class _Inner(ModuleType):
    """A module inside one of Ray's packages: the names of the place where Heliostat has them."""

    def __init__(self, name: str, home: str) -> None:
        super().__init__(name, f"The names of `{home}`, where Ray has them too.")
        self._home = home

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        home = importlib.import_module(self._home)
        value = getattr(home, name, _MISSING)
        if value is _MISSING:
            _refuse(home, f"{self.__name__}.{name}", name, None)
        return value


def _open(name: str, module: ModuleType) -> None:
    """Put what Ray has inside a module into the modules that are known: no finder is asked."""
    for inner, home in _inner().below(name).items():
        place = sys.modules.setdefault(inner, _Inner(inner, home))
        module.__dict__.setdefault(inner.rpartition(".")[2], place)
        _open(inner, place)


def _inner() -> Any:
    return importlib.import_module("heliostat._inner_modules")


def _explain_missing_names(module: ModuleType) -> None:
    """Give the module a last word on names it lacks, after its own `__getattr__`."""
    theirs = THEIRS + module.__name__.removeprefix(OURS)
    own: Callable[[str], object] | None = module.__dict__.get("__getattr__")
    if own is not None and getattr(own, "__module__", "") == __name__:
        return

    def __getattr__(name: str) -> object:
        reason: AttributeError | None = None
        if own is not None:
            try:
                value = own(name)
            except AttributeError as error:
                reason = error
            else:
                if isinstance(value, ModuleType) and value.__name__.startswith(f"{OURS}."):
                    _explain_missing_names(value)
                return value
        _refuse(module, f"{theirs}.{name}", name, reason)

    module.__dict__["__getattr__"] = __getattr__


def _refuse(module: ModuleType, full: str, name: str, reason: AttributeError | None) -> NoReturn:
    if name.startswith("__"):
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}") from reason
    message = _lack(full, _similar(module, name))
    # `from ray.train import X` turns an AttributeError into a message of Python's own, but lets
    # an ImportError pass. Everything else that looks a name up must get an AttributeError.
    caller = sys._getframe(2)
    if caller.f_code.co_code[caller.f_lasti] == opcode.opmap["IMPORT_FROM"]:
        raise ImportError(message, name=module.__name__) from reason
    raise AttributeError(message, name=name, obj=module) from reason


def _lack(full: str, similar: Sequence[str] = ()) -> str:
    """What Heliostat lacks, and what to do."""
    parts = full.split(".")[1:]
    parent = ".".join([OURS, *parts[:-1]])
    if full in INSIDE:
        advice = INSIDE[full]
    elif similar:
        advice = f"did you mean {' or '.join(similar)}?"
    elif parts and parts[0] in INSTEAD:
        advice = INSTEAD[parts[0]]
    elif any(part.startswith("_") for part in parts):
        advice = "it is private to Ray; use the public names"
    else:
        advice = (
            f"`dir({parent})` lists what is there; "
            "to use Ray itself, run the program with `python` where ray is installed"
        )
    return f"Heliostat has no {full}: {advice}"


def _similar(module: ModuleType, name: str) -> list[str]:
    # Slow to import, and needed only on the way to an error.
    difflib = importlib.import_module("difflib")
    names = [known for known in dir(module) if not known.startswith("_")]
    close: list[str] = difflib.get_close_matches(name, names, n=2, cutoff=0.75)
    return close
