"""`heliostat data explain`: what a dataset of a script would do, without doing it.

The script is imported, so what it does at its top happens; what stands under
`if __name__ == "__main__"` does not.
"""

import argparse
import contextlib
import importlib.util
import io
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from heliostat.cli._errors import CommandError, UsageError
from heliostat.cli._tables import write_json


def add_parser(commands: Any) -> None:
    """Add `data` and its verb."""
    data = commands.add_parser("data", help="what a dataset would do")
    verbs = data.add_subparsers(dest="verb", required=True, metavar="VERB")
    parser = verbs.add_parser("explain", help="its plan, as asked for and as it would run")
    parser.add_argument(
        "target", metavar="SCRIPT[:NAME]",
        help="the script is run; NAME is a dataset, or a function that gives one; else all",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(carry_out=explain)


def explain(options: argparse.Namespace) -> int:
    """Print the plans of the datasets that are meant; the exit code."""
    path, _, name = options.target.partition(":")
    if not Path(path).is_file():
        raise UsageError(f"there is no file {path!r}; say SCRIPT.py or SCRIPT.py:NAME")
    found = _datasets(_loaded(path), name, path)
    plans = {each: _plan(dataset) for each, dataset in found.items()}
    if options.json:
        write_json(plans)
        return 0
    for each, text in plans.items():
        title = f"{each}\n" if len(plans) > 1 else ""
        sys.stdout.write(f"{title}{text}")
    return 0


def _loaded(path: str) -> ModuleType:
    from heliostat import _alias  # noqa: PLC0415 - other commands do without

    _alias.install()
    sys.path.insert(0, str(Path(path).resolve().parent))
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path!r} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what it prints is no part of our answer
            spec.loader.exec_module(module)
    except Exception as error:  # the user's code: theirs to see
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise CommandError(
            f"{path} cannot be imported: {type(error).__name__}: {error} "
            f"({where.filename}, line {where.lineno})"
        ) from error
    return module


def _datasets(module: ModuleType, name: str, path: str) -> dict[str, Any]:
    from heliostat.data import Dataset  # noqa: PLC0415 - other commands do without

    all_ = {key: value for key, value in vars(module).items() if isinstance(value, Dataset)}
    if not name:
        if not all_:
            raise CommandError(
                f"{path} defines no dataset at its top; name a function that gives one: {path}:NAME"
            )
        return all_
    value = getattr(module, name, None)
    if callable(value) and not isinstance(value, Dataset):
        try:
            value = value()
        except Exception as error:  # the user's code: theirs to see
            raise CommandError(f"{path}:{name}() raised {type(error).__name__}: {error}") from error
    if not isinstance(value, Dataset):
        known = f"; there are {', '.join(all_)}" if all_ else ""
        raise CommandError(
            f"{path} has no dataset {name!r}, nor a function of that name that gives one{known}"
        )
    return {name: value}


def _plan(dataset: Any) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        dataset.explain()
    return said.getvalue()
