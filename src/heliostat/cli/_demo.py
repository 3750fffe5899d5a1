"""`heliostat demo`: where the packaged demo is, beside the code in a wheel, in `examples/` in a checkout.

Knows only paths and which packages the demo imports.
"""

import argparse
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heliostat.cli import _run
from heliostat.cli._errors import UsageError

PACKAGE = Path(__file__).parents[1]
NEEDS = ("numpy", "pandas", "pyarrow", "requests", "starlette", "uvicorn", "xgboost")


class DemoNotHere(UsageError):
    """The demo cannot run; the message says what to install or where to get it."""


def add_parser(commands: Any) -> None:
    """Add `demo`."""
    parser = commands.add_parser("demo", help="the taxi lesson: read, train, tune, predict, serve")
    parser.add_argument(
        "folder", nargs="?", help="where to keep what was trained (default: nowhere)"
    )
    _run.add_json(parser)
    parser.set_defaults(carry_out=demo)


def demo(options: argparse.Namespace) -> int:
    """Run it; the exit code."""
    if options.folder:
        os.environ["STORAGE_PATH"] = options.folder
    return _run.run(str(find()), [], as_json=options.json)


def find(package: Path = PACKAGE, needs: Sequence[str] = NEEDS) -> Path:
    """The path of the taxi demo.

    Args:
        package: Where Heliostat is.
        needs: What the demo imports.

    Raises:
        DemoNotHere: It was not installed, or a package that it needs was not.
    """
    missing = [name for name in needs if importlib.util.find_spec(name) is None]
    if missing:
        raise DemoNotHere(
            f"the demo needs {', '.join(missing)}; install them with: pip install 'heliostat[demo]'"
        )
    for place in (package / "demo", package.parents[1] / "examples"):
        if (place / "taxi.py").is_file():
            return place / "taxi.py"
    raise DemoNotHere(
        "this installation has no demo; it is in examples/ of Heliostat's source: "
        "get a checkout and say `make demo` there"
    )
