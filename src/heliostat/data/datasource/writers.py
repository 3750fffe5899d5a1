"""What sinks by a library's writer have in common: its arguments, packing, and whose fault an error is."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

__all__ = ["accepted", "refuse_packing", "write_columns"]

_ELSEWHERE = {"partition_cols": " Only write_parquet makes directories by value."}


def accepted(verb: str, arguments: Mapping[str, Any], writer: Callable[..., Any]) -> dict[str, Any]:
    """Arguments for a library's writer, looked at before anything runs.

    Args:
        verb: The user's call, for the message.
        arguments: What the user gives beside what every writer takes.
        writer: The library's function; its first two parameters are ours to give.

    Returns:
        The arguments.

    Raises:
        TypeError: For one that the writer does not know.

    Example:
        >>> accepted("write", {"indent": 2}, lambda rows, file, indent=0: None)
        {'indent': 2}
    """
    known = [*inspect.signature(writer).parameters][2:]
    for name in arguments:
        if name not in known:
            raise TypeError(
                f"{verb}() got an unexpected argument {name!r}. Beside what every writer of files "
                f"takes, it takes {known}.{_ELSEWHERE.get(name, '')}"
            )
    return dict(arguments)


def refuse_packing(verb: str, options: Mapping[str, Any]) -> None:
    """Refuse to pack files of a format that is packed within, and read from its end.

    Args:
        verb: The user's call.
        options: Of a sink of files.

    Raises:
        ValueError: if its stream's arguments have a compression.
    """
    packing = (options.get("open_stream_args") or {}).get("compression")
    if packing not in (None, "detect"):
        raise ValueError(
            f"{verb}(arrow_open_stream_args={{'compression': {packing!r}}}) would pack whole files, "
            f"which no reader can open then; use {verb}(compression={packing!r})"
        )


def write_columns(table: pa.Table, file: Any, write: Callable[[pa.Table, Any], Any]) -> None:
    """Write a table; an error names the column, which Arrow's seldom do.

    Args:
        table: The rows.
        file: An open file.
        write: Arrow's writer.

    Raises:
        ValueError: if a column cannot be written.
    """
    try:
        write(table, file)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        for field in table.schema:
            try:
                write(table.select([field.name]), pa.BufferOutputStream())
            except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as reason:
                raise ValueError(
                    f"column {field.name!r} of type {field.type} cannot be written: {reason}; "
                    "cast it to another type, or drop it"
                ) from error
        raise
