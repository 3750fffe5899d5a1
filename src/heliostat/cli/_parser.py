"""Parser: argparse's, for people who do not know the commands yet: what is missing or misspelt is
answered with what there is. Knows none of the commands.
"""

import argparse
import difflib
import re
import sys
from typing import Any, NoReturn

_UNKNOWN = re.compile(r"argument (COMMAND|VERB): invalid choice: '(.*?)' \(choose from (.*)\)")
_MISSING = re.compile(r"the following arguments are required: (.*)")


class Parser(argparse.ArgumentParser):
    """As `argparse.ArgumentParser`, but for what it says of a command line that makes no sense."""

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """Have the command or verb that does not know an argument say so, with its own usage."""
        options, unknown = super().parse_known_args(*args, **kwargs)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """Say what there is, and end with exit code 2."""
        if unknown := _UNKNOWN.fullmatch(message):
            of, given, known = unknown.groups()
            near = difflib.get_close_matches(given, re.findall(r"[\w-]+", known), 1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            said = f"there is no {of.lower()} {given!r}; {meant}`{self.prog} --help` has them all"
            self.exit(2, f"{self.prog}: {said}\n")
        if missing := _MISSING.fullmatch(message):
            self.print_help(sys.stderr)
            of = missing[1]
            self.exit(2, "" if of in ("COMMAND", "VERB") else f"\n{self.prog}: {of} is missing\n")
        super().error(message)
