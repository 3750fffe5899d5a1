"""What ends a command with a message and no traceback, and the exit code that goes with it."""


class CommandError(Exception):
    """A command that cannot be carried out; the message says what to do instead.

    Attributes:
        code: The exit code: 1 when what was asked for is not there.
    """

    code = 1


class UsageError(CommandError):
    """The command line makes no sense as it stands."""

    code = 2
