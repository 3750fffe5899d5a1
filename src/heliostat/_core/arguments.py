"""Split a call into values and top-level references, and put it back together.

A reference that is itself an argument arrives as its value; one inside a value stays a reference.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from heliostat._core.codec import ATOMS, EMPTY_CALL, Encoded, encode_object, explain_call
from heliostat._core.refs import ObjectRef
from heliostat.exceptions import SerializationError

Slot = int | str  # the position of a positional argument, or the name of a keyword


class Call(NamedTuple):
    """Arguments as bytes, and where the values of references belong in them."""

    encoded: Encoded
    slots: tuple[Slot, ...] = ()
    needs: tuple[bytes, ...] = ()


_EMPTY = Call(EMPTY_CALL)


def pack(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """Encode the arguments of a call of `name`; top-level references are taken out.

    Raises:
        SerializationError: Naming the argument, and the path inside it, that cannot be pickled.
    """
    if not args and not kwargs:
        return _EMPTY
    slots: list[Slot] = []
    needs: list[bytes] = []
    for position, value in enumerate(args):
        if type(value) is ObjectRef:
            slots.append(position)
            needs.append(value._id)
    for keyword, value in kwargs.items():
        if type(value) is ObjectRef:
            slots.append(keyword)
            needs.append(value._id)
    if not slots:
        return Call(_encode(name, args, kwargs))
    plain = tuple(None if type(value) is ObjectRef else value for value in args)
    named = {k: None if type(value) is ObjectRef else value for k, value in kwargs.items()}
    return Call(_encode(name, plain, named), tuple(slots), tuple(needs))


def _encode(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Encoded:
    if not kwargs and ATOMS.issuperset(map(type, args)):
        return Encoded(pickle.dumps((args, kwargs), 5))
    try:
        return encode_object((args, kwargs))
    except SerializationError as error:
        raise explain_call(args, kwargs, error.__cause__ or error, name) from error.__cause__


def fill(
    args: Sequence[Any], kwargs: Mapping[str, Any], slots: Sequence[Slot], values: Sequence[Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments with the values of the taken-out references back in place."""
    if not slots:
        return args, kwargs
    positional, named = list(args), dict(kwargs)
    for slot, value in zip(slots, values, strict=True):
        if isinstance(slot, int):
            positional[slot] = value
        else:
            named[slot] = value
    return positional, named
