"""What the files of programs beside this one share: how programs are marked, run, and what is told.

Each file is a script, `python data.py ray` or `python data.py heliostat`, so that workers need no
module of ours; further arguments name the programs to run. A program takes the library and returns
what JSON can say; what it raises is its outcome too. A line `["program", outcome]` tells of each, on
standard output or in the file that OUTCOMES names: Ray writes into the middle of lines of the former.
"""

import importlib
import json
import math
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

PROGRAMS: dict[str, Callable[[Any], Any]] = {}
MOST_S = 60  # for one program
# Classes that say nothing: `_Dual` is ours, between an error and the classes that users know.
UNSEEN = {"_Dual", "BaseException", "object"}


def program(function):
    PROGRAMS[function.__name__] = function
    return function


def raised(action, *words):
    """The classes of what it raises, and which of the words its message has."""
    try:
        value = action()
    except BaseException as error:  # noqa: BLE001 - it is the outcome
        kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ not in UNSEEN]
        return {
            "raises": kinds[:1],
            "also": sorted(kinds[1:]),
            "says": [w for w in words if w in str(error)],
        }
    return {"returns": repr(value)}


def refused(action, *words):
    """The builtin classes of what it raises, and which of the words its message has.

    For errors that libraries raise, whose own classes nobody catches.
    """
    try:
        value = action()
    except BaseException as error:  # noqa: BLE001 - it is the outcome
        kinds = [k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins"]
        found = [kind for kind in kinds if kind not in UNSEEN]
        return {"raises": found, "says": [w for w in words if w in str(error)]}
    return {"returns": told(value)}


def told(value):
    """A value as JSON can say it, with the types of what it consists of."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return repr(value) if math.isnan(value) or math.isinf(value) else round(value, 9)
    if isinstance(value, dict):
        return {str(key): told(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [told(item) for item in value]
    kind = type(value)
    if kind.__name__ == "ndarray":
        return {f"array {value.dtype} {list(value.shape)}": told(value.tolist())}
    if kind.__module__ == "numpy":
        return {f"numpy {kind.__name__}": told(value.item()) if value.item() is not value else ""}
    return {kind.__name__: str(value)}


def library(ray, name):
    return importlib.import_module(f"{ray.__name__}.{name}")


class Clock:
    """Ends a program that takes too long, and knows that it did: extensions may hide the error."""

    def __init__(self):
        self.is_late = False

    def give_up(self, number, frame):
        self.is_late = True
        raise TimeoutError("the program took too long")


def main(*parts, begin=lambda ray: None, end=lambda ray: None, num_cpus=4, dashboard=False):
    """Run the programs that the command line names, or all; `parts` are imported beforehand."""
    name, *wanted = sys.argv[1:]
    ray = importlib.import_module(name)
    for lazy in ("util", "exceptions", "actor", *parts):
        importlib.import_module(f"{name}.{lazy}")
    options = {"num_cpus": num_cpus, "log_to_driver": False}
    if name == "ray":
        options["include_dashboard"] = dashboard
        # A worker per CPU at once would be most of what a short run costs.
        options["_system_config"] = {"prestart_worker_first_driver": False}
    ray.init(**options)
    if dashboard and name == "ray":  # its state API asks for a choice when there are other sessions
        os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    begin(ray)
    for each in wanted or PROGRAMS:
        function, clock = PROGRAMS[each], Clock()
        signal.signal(signal.SIGALRM, clock.give_up)
        signal.alarm(MOST_S)
        outcome = raised(lambda function=function: json.dumps(function(ray)))
        signal.alarm(0)
        outcome = {"late": True} if clock.is_late else outcome
        with open(os.environ.get("OUTCOMES", "/dev/stdout"), "a") as file:
            file.write(json.dumps([each, outcome]) + "\n")
    end(ray)
    ray.shutdown()
