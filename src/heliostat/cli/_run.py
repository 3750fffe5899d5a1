"""Run a user's program as `python` would, with `ray` standing for Heliostat.

Knows `sys`, code objects and files. What a traceback shows is decided in `_traceback.py`.
"""

import argparse
import importlib.util
import io
import os
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from heliostat import _alias
from heliostat.cli._errors import UsageError
from heliostat.cli._traceback import Trimmed, trimmed

# What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130


class NotAProgram(UsageError):
    """There is nothing to run under the name that was given."""


def add_parser(commands: Any) -> None:
    """Add `run`."""
    parser = commands.add_parser(
        "run",
        help="run a program in which `import ray` means Heliostat",
        usage="heliostat run [--full-traceback] [-m] TARGET [ARGS ...]",
    )
    parser.add_argument(
        "--full-traceback",
        action="store_true",
        help="show the frames of Heliostat and libraries in an error too",
    )
    parser.add_argument(
        "-m", dest="as_module", action="store_true", help="TARGET is a module, as for `python -m`"
    )
    parser.add_argument("target", metavar="TARGET", help="a script, or a module with -m")
    parser.add_argument(
        "args", metavar="ARGS", nargs=argparse.REMAINDER, help="what the program is given"
    )
    parser.set_defaults(carry_out=_carry_out)


def _carry_out(options: argparse.Namespace) -> int:
    return run(
        options.target,
        options.args,
        as_module=options.as_module,
        full_traceback=options.full_traceback,
    )


def run(target: str, args: Sequence[str], *, as_module: bool, full_traceback: bool) -> int:
    """Run a script or module as `__main__` and return its exit code.

    Args:
        target: A path, or with `as_module` a dotted name.
        args: What the program finds in `sys.argv[1:]`.
        as_module: Whether `target` is a module, as for `python -m`.
        full_traceback: Whether an error shows the frames of Heliostat and libraries too.

    Raises:
        NotAProgram: There is no such file or module.
        SystemExit: The program asked for it.
    """
    path = str(Path.cwd()) if as_module else _directory_of(target)
    if not sys.flags.safe_path and sys.path:
        # In place of the directory of the `heliostat` command itself.
        sys.path[0] = path
    else:
        sys.path.insert(0, path)
    _alias.install()
    try:
        main, code = _module(target) if as_module else _script(target)
        sys.argv = [str(main.__dict__["__file__"] if as_module else target), *args]
        sys.modules["__main__"] = main
        exec(code, main.__dict__)
    except NotAProgram:
        raise
    except KeyboardInterrupt as error:
        _report(trimmed(error, whole=full_traceback))
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the user's code ends here; it goes to stderr
        _report(trimmed(error, whole=full_traceback))
        return 1
    return 0


def _directory_of(target: str) -> str:
    path = Path(target)
    if path.is_dir():
        raise NotAProgram(f"{target!r} is a directory; name the script in it")
    if not path.is_file():
        raise NotAProgram(f"there is no file {target!r} in {Path.cwd()}")
    return str(path.resolve().parent)


def _script(target: str) -> tuple[ModuleType, CodeType]:
    # Absolute, as `python` has it: the program may change directory before it fails.
    path = str(Path(target).absolute())
    with io.open_code(path) as file:
        source = file.read()
    code = compile(source, path, "exec", dont_inherit=True)
    return _main_module(path, None), code


def _module(target: str) -> tuple[ModuleType, CodeType]:
    spec = _find(target)
    if spec.submodule_search_locations is not None:
        spec = _find(f"{target}.__main__")
    code = spec.loader.get_code(spec.name) if isinstance(spec.loader, InspectLoader) else None
    if code is None:
        raise NotAProgram(f"module {target!r} has no Python code to run")
    return _main_module(spec.origin or target, spec), code


def _find(name: str) -> ModuleSpec:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        # Anything else that is missing is the parent package's own affair.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        spec = None
    if spec is None:
        raise NotAProgram(f"there is no module {name!r} on the path {os.pathsep.join(sys.path)}")
    return spec


def _main_module(file: str, spec: ModuleSpec | None) -> ModuleType:
    # Not runpy: it empties the module when the script's last line is done, under the feet of
    # threads and exit handlers that still use its globals.
    main = ModuleType("__main__")
    main.__dict__.update(
        __file__=file,
        __spec__=spec,
        __loader__=spec.loader if spec else None,
        __package__=spec.parent if spec else None,
        __builtins__=__builtins__,
    )
    return main


def _report(report: Trimmed) -> None:
    sys.stdout.flush()
    sys.stderr.write(report.text)
    if report.hidden:
        frames = "1 frame" if report.hidden == 1 else f"{report.hidden} frames"
        sys.stderr.write(
            f"({frames} of Heliostat and of libraries it calls left out; "
            "`heliostat run --full-traceback` shows all)\n"
        )
