"""The `heliostat` command: what it can do, and its arguments.

- `_run.py`: run a program in which `import ray` means Heliostat
- `_traceback.py`: what of an error the program's author gets to see
- `_demo.py`: where the taxi demo is
- `_debug.py`: the breakpoints that wait in tasks and actors
- `_serve.py`: applications from files, and those that run
- `_why.py`: what the sessions that run now do, and what they wait for

argparse, because `heliostat --version` shall answer at once: click alone takes 40 ms to import.
"""

import argparse
import sys
from collections.abc import Sequence

from heliostat._version import __version__
from heliostat.cli import _debug, _demo, _run, _serve, _why

__all__ = ["main"]

USAGE_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments after the command's name; None takes them from `sys.argv`.

    Returns:
        The exit code: the program's own, 1 for an error that ended it, 2 for a command line
        that makes no sense.

    Example:
        >>> from heliostat.cli import main
        >>> main(["run", "no-such-file.py"])
        2
    """
    options = _parser().parse_args(argv)
    try:
        if options.command == "why":
            return _why.why(options.pid, as_json=options.json)
        if options.command == "debug":
            return _debug.debug(options.pid)
        if options.command == "serve":
            return _serve.serve(options)
        if options.command == "demo":
            script = str(_demo.find())
            return _run.run(script, [], as_module=False, full_traceback=False)
        return _run.run(
            options.target,
            options.args,
            as_module=options.as_module,
            full_traceback=options.full_traceback,
        )
    except (_run.NotAProgram, _demo.DemoNotHere, _serve.ServeUsage) as error:
        sys.stderr.write(f"heliostat {options.command}: {error}\n")
        return USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="heliostat", description="Ray's AI libraries on a fast embedded engine."
    )
    parser.add_argument("--version", action="version", version=f"heliostat {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="run a program in which `import ray` means Heliostat",
        usage="heliostat run [--full-traceback] [-m] TARGET [ARGS ...]",
    )
    run.add_argument(
        "--full-traceback",
        action="store_true",
        help="show the frames of Heliostat and libraries in an error too",
    )
    run.add_argument(
        "-m", dest="as_module", action="store_true", help="TARGET is a module, as for `python -m`"
    )
    run.add_argument("target", metavar="TARGET", help="a script, or a module with -m")
    run.add_argument(
        "args", metavar="ARGS", nargs=argparse.REMAINDER, help="what the program is given"
    )
    commands.add_parser("demo", help="the taxi lesson: read, train, tune, predict, serve")
    _serve.add_parser(commands)
    why = commands.add_parser("why", help="what your running sessions do, and what they wait for")
    why.add_argument("pid", nargs="?", type=int, metavar="PID", help="only of this driver process")
    why.add_argument("--json", action="store_true", help="everything, for programs")
    debug = commands.add_parser("debug", help="attach to a breakpoint in a task or actor")
    debug.add_argument("pid", nargs="?", type=int, metavar="PID", help="of this worker process")
    return parser
