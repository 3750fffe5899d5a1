"""Run a user's program as `python` would, with `ray` standing for Heliostat.

Knows `sys`, code objects and files. What a traceback shows is decided in `_traceback.py`.
"""

import argparse
import importlib.util
import io
import os
import sys
import time
from collections.abc import Sequence
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from heliostat import _alias
from heliostat.cli._errors import UsageError
from heliostat.cli._traceback import Trimmed, trimmed

# What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130


class NotAProgram(UsageError):
    """There is nothing to run under the name that was given."""


class Outcome(NamedTuple):
    """How a program ended, for programs."""

    program: str
    exit_code: int
    seconds: float
    traceback: str | None = None


def add_parser(commands: Any) -> None:
    """Add `run`."""
    parser = commands.add_parser(
        "run",
        help="run a program in which `import ray` means Heliostat",
        usage="heliostat run [--full-traceback] [--json] [-m] TARGET [ARGS ...]",
    )
    parser.add_argument(
        "--full-traceback",
        action="store_true",
        help="show the frames of Heliostat and libraries in an error too",
    )
    parser.add_argument(
        "-m", dest="as_module", action="store_true", help="TARGET is a module, as for `python -m`"
    )
    add_json(parser)
    parser.add_argument("target", metavar="TARGET", help="a script, or a module with -m")
    arguments = parser.add_argument(
        "args", metavar="ARGS", nargs=argparse.REMAINDER, help="what the program is given"
    )
    arguments.required = False  # argparse would say that they are missing, too
    parser.set_defaults(carry_out=_carry_out)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`; standard output is the program's own."""
    parser.add_argument(
        "--json", action="store_true", help="how it ended, as the last line of standard error"
    )


def _carry_out(options: argparse.Namespace) -> int:
    return run(
        options.target,
        options.args,
        as_module=options.as_module,
        full_traceback=options.full_traceback,
        as_json=options.json,
    )


def run(
    target: str,
    args: Sequence[str],
    *,
    as_module: bool = False,
    full_traceback: bool = False,
    as_json: bool = False,
) -> int:
    """Run a script or module as `__main__` and return its exit code.

    Args:
        target: A path, or with `as_module` a dotted name.
        args: What the program finds in `sys.argv[1:]`.
        as_module: Whether `target` is a module, as for `python -m`.
        full_traceback: Whether an error shows the frames of Heliostat and libraries too.
        as_json: Whether a line of JSON on standard error tells how it ended.

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
    began = time.monotonic()
    exit_code, error = 0, None
    try:
        main, code = _module(target) if as_module else _script(target)
        sys.argv = [str(main.__dict__["__file__"] if as_module else target), *args]
        sys.modules["__main__"] = main
        exec(code, main.__dict__)
    except NotAProgram:
        raise
    except SystemExit as ended:
        if as_json:
            _tell(Outcome(target, _code_of(ended), time.monotonic() - began))
        raise
    except KeyboardInterrupt as caught:
        exit_code, error = INTERRUPTED, trimmed(caught, whole=full_traceback)
    except Exception as caught:  # noqa: BLE001 - the user's code ends here; it goes to stderr
        exit_code, error = 1, trimmed(caught, whole=full_traceback)
    if as_json:
        text = None if error is None else error.text
        _tell(Outcome(target, exit_code, time.monotonic() - began, text))
    elif error is not None:
        _report(error)
    return exit_code


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


def _code_of(ended: SystemExit) -> int:
    """The exit code that the interpreter will give: 1 for a message, which it writes."""
    if ended.code is None:
        return 0
    return ended.code if isinstance(ended.code, int) else 1


def _tell(outcome: Outcome) -> None:
    import json  # noqa: PLC0415 - few runs want it

    sys.stdout.flush()
    sys.stderr.write(json.dumps(outcome._asdict()) + "\n")


def _report(report: Trimmed) -> None:
    sys.stdout.flush()
    sys.stderr.write(report.text)
    if report.hidden:
        frames = "1 frame" if report.hidden == 1 else f"{report.hidden} frames"
        sys.stderr.write(
            f"({frames} of Heliostat and of libraries it calls left out; "
            "`heliostat run --full-traceback` shows all)\n"
        )
