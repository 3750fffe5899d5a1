"""RuntimeEnv: what a worker process is born with, validated once. Knows nothing of how it is made.

Loaded when somebody asks for an environment, and not before.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from heliostat._core import codec

MOST_BYTES = 96 << 10  # of a description: it travels in one message
_TIMEOUT_S = 600

_INSTEAD = {
    "conda": "list the packages in uv= or pip=, or name that environment's interpreter in "
    "py_executable=",
    "container": "start the program itself inside the container",
    "image_uri": "start the program itself inside a container of that image",
    "nsight": "start the program under the profiler: nsys profile python program.py",
    "_nsight": "start the program under the profiler: nsys profile python program.py",
    "rocprof_sys": "start the program under the profiler: rocprof-sys-run -- python program.py",
    "_rocprof_sys": "start the program under the profiler: rocprof-sys-run -- python program.py",
    "java_jars": "leave it out: workers run Python",
}


class RuntimeEnvConfig(dict[str, Any]):
    """How an environment is set up, as `RuntimeEnv(config=...)` takes it.

    Args:
        setup_timeout_seconds: How long its making may take; -1 for no limit.
        eager_install: Whether `init(runtime_env=...)` makes it at once, or the first task does.
        log_files: Files that the installer's output is added to.

    Raises:
        TypeError: For a value of the wrong type.
        ValueError: For a time that is not above 0 and not -1.

    Example:
        >>> RuntimeEnvConfig(setup_timeout_seconds=60)["setup_timeout_seconds"]
        60
    """

    def __init__(
        self,
        setup_timeout_seconds: int = _TIMEOUT_S,
        eager_install: bool = True,
        log_files: list[str] | None = None,
    ) -> None:
        if isinstance(setup_timeout_seconds, bool) or not isinstance(setup_timeout_seconds, int):
            raise TypeError(
                f"setup_timeout_seconds must be a whole number, got {setup_timeout_seconds!r}"
            )
        if setup_timeout_seconds <= 0 and setup_timeout_seconds != -1:
            raise ValueError(
                f"setup_timeout_seconds must be > 0, or -1 for no limit, got {setup_timeout_seconds}"
            )
        if not isinstance(eager_install, bool):
            raise TypeError(f"eager_install must be a bool, got {eager_install!r}")
        super().__init__(
            setup_timeout_seconds=setup_timeout_seconds,
            eager_install=eager_install,
            log_files=_strings("config['log_files']", log_files or []),
        )


class RuntimeEnv(dict[str, Any]):
    """What worker processes are born with; the same as a dict with these keys.

    Args:
        env_vars: Environment variables. `${NAME}` stands for the value that NAME has already.
        working_dir: A directory, or a .zip of one. Workers begin in a copy of it, and import
            from there first.
        excludes: What the copies leave out, in the notation of .gitignore.
        py_modules: Modules that workers can import: directories of packages, .py files, modules,
            wheels, .zip files.
        pip: Packages: a list of requirements, the path of a requirements file, or a dict with
            `packages`, `pip_check`, `pip_version`, `pip_install_options`. uv installs them.
        uv: The same with `packages`, `uv_check`, `uv_version`, `uv_pip_install_options`.
        py_executable: The interpreter of workers, and arguments to it.
        worker_process_setup_hook: Called without arguments in each new worker: a function, or
            "package.module.function".
        config: How the environment is set up.
        kwargs: Refused by name; `conda`, `container` and others with what to do instead.
        conda: Not offered.
        container: Not offered.
        image_uri: Not offered.
        nsight: Not offered.
        rocprof_sys: Not offered.

    Raises:
        TypeError: For a value of the wrong type.
        ValueError: For a key that is not known, or a path that is not there.
        NotImplementedError: For a key of Ray's that is not offered; names the alternative.

    Example:
        >>> from heliostat.runtime_env import RuntimeEnv
        >>> RuntimeEnv(env_vars={"STAGE": "test"})
        {'env_vars': {'STAGE': 'test'}}
    """

    def __init__(
        self,
        *,
        py_modules: list[str | ModuleType] | None = None,
        py_executable: str | None = None,
        working_dir: str | None = None,
        pip: list[str] | str | dict[str, Any] | None = None,
        conda: Any = None,
        container: Any = None,
        env_vars: Mapping[str, str] | None = None,
        worker_process_setup_hook: Callable[[], object] | str | None = None,
        nsight: Any = None,
        rocprof_sys: Any = None,
        config: Mapping[str, Any] | None = None,
        image_uri: Any = None,
        uv: list[str] | str | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        given = {
            "env_vars": env_vars, "working_dir": working_dir, "py_modules": py_modules,
            "py_executable": py_executable, "pip": pip, "uv": uv,
            "worker_process_setup_hook": worker_process_setup_hook, "config": config,
            "conda": conda, "container": container, "image_uri": image_uri, "nsight": nsight,
            "rocprof_sys": rocprof_sys, **kwargs,
        }  # fmt: skip
        for key, value in given.items():
            if value is not None:
                self[key] = value

    def __setitem__(self, key: str, value: Any) -> None:
        """Validate a value and keep it in its normal form."""
        if key not in _PARSERS:
            _refuse(key, value)
        parsed = _PARSERS[key](value)
        if parsed:  # an empty one asks for nothing
            super().__setitem__(key, parsed)
        if "pip" in self and "uv" in self:
            raise ValueError(
                f"runtime_env has both pip={self['pip']!r} and uv={self['uv']!r}; put all "
                "packages into one of them"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return trusted, (dict(self),)


def trusted(values: Mapping[str, Any]) -> RuntimeEnv:
    """An environment of values that are in their normal form already."""
    env = RuntimeEnv()
    dict.update(env, values)
    return env


def parse(value: object) -> RuntimeEnv:
    """What a user gave as `runtime_env`; raises as RuntimeEnv."""
    if isinstance(value, RuntimeEnv):
        return trusted(value)  # a copy: it may be changed after this
    if not isinstance(value, Mapping):
        raise TypeError(f"runtime_env must be a dict or a RuntimeEnv, got {value!r}")
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"runtime_env has the key {key!r}; its keys are {', '.join(_PARSERS)}")
    return RuntimeEnv(**value)


def merged(parent: Mapping[str, Any], child: Mapping[str, Any]) -> RuntimeEnv:
    """What a task gets that asks for `child` where `parent` holds.

    Variables are merged one by one; any other key of the child replaces the parent's.

    Example:
        >>> parent = RuntimeEnv(env_vars={"A": "1", "B": "1"})
        >>> merged(parent, {"env_vars": {"B": "2"}})["env_vars"]
        {'A': '1', 'B': '2'}
    """
    both = {**parent, **child}
    if "uv" in child:  # one replaces the other: both ask for packages
        both.pop("pip", None)
    elif "pip" in child:
        both.pop("uv", None)
    variables = {**parent.get("env_vars", {}), **child.get("env_vars", {})}
    if variables:
        both["env_vars"] = variables
    return trusted(both)


def describe(env: RuntimeEnv) -> tuple[str, bytes]:
    """An environment as JSON, and what to call in its workers, pickled (or empty).

    Raises:
        ValueError: If it is too large to send.
    """
    hook, blob = env.get("worker_process_setup_hook"), b""
    shown = dict(env)
    if callable(hook):
        name = f"{hook.__module__}.{hook.__qualname__}"
        shown["worker_process_setup_hook"] = name
        blob = codec.encode_code(hook, name)
    text = json.dumps(shown, sort_keys=True)
    if len(text) + len(blob) > MOST_BYTES:
        raise ValueError(
            f"runtime_env takes {len(text) + len(blob)} bytes, and {MOST_BYTES} are possible; put "
            "long values into files, or large objects of the setup hook into ray.put()"
        )
    return text, blob


def row(
    env: Mapping[str, Any],
    node_id: str,
    *,
    success: bool | None = True,
    took_s: float = 0.0,
    workers: int | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    """An environment as `heliostat.util.state` shows it."""
    return {
        "runtime_env": dict(env),
        "success": success,
        "creation_time_ms": took_s * 1000,
        "node_id": node_id,
        "ref_cnt": workers,
        "error": error,
    }


def _refuse(key: str, value: object) -> None:
    if key in _INSTEAD:
        raise NotImplementedError(f"runtime_env[{key!r}]={value!r} is not offered; {_INSTEAD[key]}")
    raise ValueError(
        f"runtime_env has no key {key!r} (its value is {value!r}); the keys are "
        f"{', '.join(_PARSERS)}. Plugins are not offered: call what they do in "
        "worker_process_setup_hook"
    )


def _env_vars(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError(f"runtime_env['env_vars'] must be a dict of strings, got {value!r}")
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(
                f"runtime_env['env_vars'] has {name!r}: {text!r}; both must be strings, "
                f"so write {str(name)!r}: {str(text)!r}"
            )
        if not name or "=" in name or "\0" in name + text:
            raise ValueError(
                f"runtime_env['env_vars'] has {name!r}: {text!r}, which no process can have: a "
                "name is not empty and has no '='; neither has a NUL"
            )
    return dict(value)


def _working_dir(value: object) -> str:
    path = _path("working_dir", value, "a directory or a .zip file")
    if not os.path.isdir(path) and not path.endswith(".zip"):
        raise ValueError(
            f"runtime_env['working_dir'] is {path!r}, which is neither a directory nor a .zip file"
        )
    return path


def _path(key: str, value: object, kind: str) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise TypeError(f"runtime_env[{key!r}] must be {kind}, got {value!r}")
    if "://" in value:
        raise NotImplementedError(
            f"runtime_env[{key!r}]: {value!r} is not on this machine; download it, and pass the path"
        )
    path = os.path.abspath(os.path.expanduser(value))
    if not os.path.exists(path):
        raise ValueError(
            f"runtime_env[{key!r}]: {value!r} is not there (it means {path}, seen from "
            f"{os.getcwd()}); pass {kind}"
        )
    return path


def _py_modules(value: object) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"runtime_env['py_modules'] must be a list, got {value!r}")
    return [_py_module(module) for module in value]


def _py_module(module: object) -> str:
    kind = "a directory, a .py file, a module, a wheel or a .zip file"
    if isinstance(module, ModuleType):
        if getattr(module, "__path__", None):
            return str(next(iter(module.__path__)))
        if not getattr(module, "__file__", None):
            raise ValueError(
                f"runtime_env['py_modules'] has the module {module.__name__}, which comes from no "
                "file; every worker has it already if it is built in"
            )
        module = module.__file__
    path = _path("py_modules", module, kind)
    if not os.path.isdir(path) and not path.endswith((".py", ".whl", ".zip")):
        raise ValueError(f"runtime_env['py_modules'] has {path!r}, which is not {kind}")
    return path


def _strings(key: str, value: object) -> list[str]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"runtime_env {key} must be a list of strings, got {value!r}")
    return list(value)


def _excludes(value: object) -> list[str]:
    return _strings("['excludes']", value)


def _packages(tool: str) -> Callable[[object], dict[str, Any] | None]:
    flags, lists = {f"{tool}_check": bool, f"{tool}_version": str}, f"{tool}_install_options"
    if tool == "uv":
        lists = "uv_pip_install_options"

    def parse_packages(value: object) -> dict[str, Any] | None:
        if not isinstance(value, Mapping):
            value = {"packages": value}
        known = ("packages", *flags, lists)
        for key in value:
            if key not in known:
                raise ValueError(
                    f"runtime_env[{tool!r}] has {key!r}; what it may have is {', '.join(known)}"
                )
        if "packages" not in value:
            raise ValueError(f"runtime_env[{tool!r}] has no 'packages', got {dict(value)!r}")
        for key, kind in flags.items():
            if key in value and not isinstance(value[key], kind):
                raise TypeError(
                    f"runtime_env[{tool!r}][{key!r}] must be a {kind.__name__}, got {value[key]!r}"
                )
        parsed = {key: value[key] for key in flags if value.get(key)}
        if value.get(lists):
            parsed[lists] = _strings(f"[{tool!r}][{lists!r}]", value[lists])
        packages = _requirements(tool, value["packages"])
        return {"packages": packages, **parsed} if packages else None

    return parse_packages


def _requirements(tool: str, value: object) -> list[str]:
    if isinstance(value, (str, os.PathLike)):
        path = _path(tool, value, "a requirements file, or a list of requirements")
        with open(path) as file:
            folder, lines = os.path.dirname(path), file.read().splitlines()
    else:
        folder, lines = os.getcwd(), _strings(f"[{tool!r}] packages", value)
    stripped = (line.strip() for line in lines)
    asked = [_in_folder(line, folder) for line in stripped if line and not line.startswith("#")]
    return list(dict.fromkeys(filter(_is_foreign, asked)))


def _in_folder(requirement: str, folder: str) -> str:
    """With paths that do not depend on where the installer runs."""
    words = requirement.split()
    for index, word in enumerate(words):
        path = os.path.expanduser(word)
        if ("/" in word or word.endswith((".whl", ".txt", ".gz", ".zip"))) and "://" not in word:
            absolute = os.path.join(folder, path)
            if os.path.exists(absolute):
                words[index] = os.path.normpath(absolute)
    return " ".join(words)


def _is_foreign(requirement: str) -> bool:
    """Not ourselves, whom every worker has already, by whichever name."""
    name = requirement.replace("[", " ").replace("=", " ").replace(">", " ").replace("<", " ")
    return name.split()[0].lower() not in ("ray", "heliostat")


def _py_executable(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"runtime_env['py_executable'] must be a string, got {value!r}")
    return value.strip()


def _hook(value: object) -> object:
    if isinstance(value, str):
        if "." not in value.strip("."):
            raise ValueError(
                f"runtime_env['worker_process_setup_hook']={value!r} names no function; write "
                "'package.module.function', or pass the function"
            )
        return value
    if not callable(value) or inspect.isclass(value):
        raise TypeError(
            "runtime_env['worker_process_setup_hook'] must be a function or "
            f"'package.module.function', got {value!r}"
        )
    return value


def _config(value: object) -> RuntimeEnvConfig:
    if isinstance(value, RuntimeEnvConfig):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(
            f"runtime_env['config'] must be a dict or a RuntimeEnvConfig, got {value!r}"
        )
    known = ("setup_timeout_seconds", "eager_install", "log_files")
    for key in value:
        if key not in known:
            raise ValueError(
                f"runtime_env['config'] has {key!r}; what it may have is {', '.join(known)}"
            )
    return RuntimeEnvConfig(**value)


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "env_vars": _env_vars,
    "working_dir": _working_dir,
    "excludes": _excludes,
    "py_modules": _py_modules,
    "pip": _packages("pip"),
    "uv": _packages("uv"),
    "py_executable": _py_executable,
    "worker_process_setup_hook": _hook,
    "config": _config,
}

# They are read when an interpreter or a library of C starts, so a forked process would not.
_AT_START = ("PYTHON", "LD_", "MALLOC_", "GLIBC_TUNABLES", "LC_", "LANG")


def read_at_start(names: Iterable[str]) -> bool:
    """Whether one of these variables must be there when the interpreter starts.

    Example:
        >>> read_at_start(["STAGE"]), read_at_start(["PYTHONHASHSEED"])
        (False, True)
    """
    return any(name.startswith(_AT_START) for name in names)


def own_interpreter(env: Mapping[str, Any]) -> bool:
    """Whether workers of this environment cannot be forked from the session's own zygotes."""
    asks = ("pip", "uv", "py_executable")
    return any(key in env for key in asks) or read_at_start(env.get("env_vars", ()))


def at_once(env: Mapping[str, Any]) -> bool:
    """Whether there is nothing to prepare before a worker of it can be forked."""
    return not own_interpreter(env) and "working_dir" not in env and "py_modules" not in env


def variables(env: Mapping[str, Any], present: Mapping[str, str]) -> dict[str, str]:
    """Its variables, with `${NAME}` replaced by what is present.

    Example:
        >>> variables({"env_vars": {"PATH": "/x:${PATH}", "A": "${NONE}"}}, {"PATH": "/bin"})
        {'PATH': '/x:/bin', 'A': ''}
    """
    import re  # noqa: PLC0415 - only if there are any

    def value(match: re.Match[str]) -> str:
        return present.get(match[1], "")

    return {
        name: re.sub(r"\$\{(\w+)\}", value, text) for name, text in env.get("env_vars", {}).items()
    }


def version() -> str:
    """Of this interpreter, as far as workers must have the same.

    Example:
        >>> version().count(".")
        1
    """
    return f"{sys.version_info[0]}.{sys.version_info[1]}"
