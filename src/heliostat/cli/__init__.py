"""The `heliostat` command: what it can do, and its arguments.

- `_run.py`: run a program in which `import ray` means Heliostat
- `_traceback.py`: what of an error the program's author gets to see
- `_demo.py`: where the taxi demo is
- `_dashboard.py`: pages over a session, and the report of one that has ended
- `_debug.py`: the breakpoints that wait in tasks and actors
- `_serve.py`: applications from files, and those that run
- `_sessions.py`: how a session in another process is found and asked; `_processes.py`: what /proc knows
- `_why.py`, `_status.py`, `_state.py`, `_logs.py`, `_memory.py`, `_timeline.py`, `_stack.py`, `_top.py`:
  what it tells, each in its own way; `_tables.py` has it fit the terminal
- `_job.py`: jobs; `_results.py`: what studies and runs have left on disk; `_explain.py`: plans of data
- `_deploy.py`: files that run a program elsewhere; `_manifests.py`: what is in them
- `_doctor.py`: whether the machine has what is needed
- `_check.py`: what of Ray a script uses that is not here, by the lists that `_parity.py` reads
- `_parser.py`: what is said of a command line that makes no sense

Every command is a function of its options that gives the exit code. argparse, not click: decision 013.
"""

import os
import sys
from collections.abc import Sequence

from heliostat._version import __version__
from heliostat.cli import (
    _check,
    _dashboard,
    _debug,
    _demo,
    _deploy,
    _doctor,
    _explain,
    _job,
    _logs,
    _memory,
    _results,
    _run,
    _serve,
    _stack,
    _state,
    _status,
    _timeline,
    _top,
    _why,
)
from heliostat.cli._errors import CommandError
from heliostat.cli._parser import Parser

__all__ = ["main"]

PIPE_CLOSED = 141  # what a shell reports for a program that SIGPIPE ended
INTERRUPTED = 130  # and for one that Ctrl-C did
_COMMANDS = (
    _run, _demo, _serve, _why, _status, _state, _logs, _memory, _timeline, _stack, _top, _debug,
    _job, _explain, _results, _doctor, _check, _dashboard, _deploy,
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments after the command's name; None takes them from `sys.argv`.

    Returns:
        The exit code: the program's own, 1 for an error that ended it or for something that is not
        there, 2 for a command line that makes no sense.

    Example:
        >>> from heliostat.cli import main
        >>> main(["run", "no-such-file.py"])
        2
    """
    options = _parser().parse_args(argv)
    try:
        code: int = options.carry_out(options)
        sys.stdout.flush()
    except CommandError as error:
        sys.stderr.write(f"heliostat {options.command}: {error}\n")
        return error.code
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED
    except BrokenPipeError:  # as in `heliostat list tasks | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return code


def _parser() -> Parser:
    parser = Parser(prog="heliostat", description="Ray's AI libraries on a fast embedded engine.")
    parser.add_argument("--version", action="version", version=f"heliostat {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.add_parser(commands)
    return parser
