"""Which of a user's arguments cannot be pickled, by the name that the user has for it.

What Serve sends has more around it, and Core counts that too. It knows nothing of who sends.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from heliostat.exceptions import SerializationError
from heliostat.util import inspect_serializability


def named(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by what errors call them."""
    return {**{f"argument {place}": value for place, value in enumerate(args)}, **kwargs}


def explained(error: SerializationError, values: Mapping[str, Any], where: str) -> Exception:
    """The error that says which of the values is to blame; as it came if none of them is.

    Args:
        error: Why all of it together could not be sent.
        values: By their names.
        where: What they were for.

    Example:
        >>> from threading import Lock
        >>> told = explained(SerializationError("?"), {"a": 1, "b": [Lock()]}, "Model.bind()")
        >>> str(told).split(":")[0]
        'Model.bind() has b[0], which cannot be pickled (_thread.lock)'
    """
    for name, value in values.items():
        is_fine, failures = inspect_serializability(value, name, print_file=io.StringIO())
        if not is_fine:
            culprit = min(failures, key=lambda failure: failure.path)
            kind = type(culprit.obj)
            return SerializationError(
                f"{where} has {''.join(culprit.path)}, which cannot be pickled ({kind.__module__}."
                f"{kind.__qualname__}): {error.__cause__ or error}. Make it inside the deployment, "
                "or pass what it is made from"
            )
    return error
