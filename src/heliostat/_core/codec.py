"""Values and the arguments of calls as bytes, and back; and the errors that users meet.

`Encoded` is what travels: a pickle, the large buffers beside it, and the references inside. A
reference that is itself an argument arrives as its value; one inside a value stays a reference.
Knows nothing of where the bytes go.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType
from typing import Any, NamedTuple

import cloudpickle  # type: ignore[import-untyped]  # ships no types

from heliostat._core.refs import COLLECTOR, ObjectRef
from heliostat.exceptions import SerializationError

Buffer = bytes | bytearray | memoryview

_COPIED_MOST = 1 << 18  # pickles that are copied out of the file they were written to


class Encoded(NamedTuple):
    """A value as bytes: the pickle, its out-of-band buffers, the references inside it."""

    data: Buffer
    buffers: tuple[Buffer, ...] = ()
    refs: tuple[bytes, ...] = ()

    def size(self) -> int:
        """All bytes together."""
        return len(self.data) + sum(len(buffer) for buffer in self.buffers)


# Types whose pickle holds no reference and no buffer, and needs nothing of cloudpickle.
ATOMS = frozenset({int, str, float, bool, bytes, type(None)})
_NONE = Encoded(pickle.dumps(None, 5))
EMPTY_CALL = Encoded(pickle.dumps(((), {}), 5))


def _with_its_file(code: CodeType) -> tuple[Any, ...]:
    make, args = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return make, (*args[:10], code.co_filename, *args[11:])


class _Reducers(dict[type, Callable[..., Any]]):
    """cloudpickle's, but for ours; most types have none, and learn that in less time than there."""

    def __missing__(self, cls: type) -> Any:
        own, common = cloudpickle.Pickler.dispatch_table.maps
        if reduce := own.get(cls) or common.get(cls):
            return reduce
        raise KeyError(cls)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # ships no types
    # From 3.1.3 on it leaves out which file code comes from: no traceback would show a line of it.
    dispatch_table = _Reducers({CodeType: _with_its_file})


def encode(value: object) -> Encoded:
    """Pickle a value; references inside are listed, large buffers kept apart without a copy.

    Raises:
        SerializationError: With the path to the part that cannot be pickled.
    """
    if value is None:
        return _NONE
    if type(value) in ATOMS:
        return Encoded(pickle.dumps(value, 5))
    return encode_object(value)


def encode_object(value: object, name: str = "value") -> Encoded:
    """`encode` for anything but an atom; `name` is what an error calls the value."""
    outer, COLLECTOR.refs = COLLECTOR.refs, []
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    try:
        _Pickler(file, protocol=5, buffer_callback=buffers.append).dump(value)
        refs = tuple(COLLECTOR.refs)
    except Exception as error:  # user code runs in __reduce__, and may raise anything
        raise explain(value, error, name) from error
    finally:
        COLLECTOR.refs = outer
    # A view of the file spares a copy, but not its owner when the garbage collector finds both in a
    # cycle: Python 3.13 then says that the file had exported buffers.
    data = file.getvalue() if file.tell() <= _COPIED_MOST else file.getbuffer()
    return Encoded(data, tuple(map(_raw, buffers)), refs)


def _raw(buffer: pickle.PickleBuffer) -> memoryview:
    try:
        return buffer.raw()
    except BufferError:  # neither C- nor Fortran-contiguous: only a copy is flat
        return memoryview(memoryview(buffer).tobytes())


def decode(encoded: Encoded) -> Any:
    """The value back; its buffers stay views of what was passed in."""
    return pickle.loads(encoded.data, buffers=encoded.buffers)


def encode_code(value: Callable[..., Any], name: str) -> bytes:
    """A function or class as bytes.

    Raises:
        SerializationError: With the path to the part that cannot be pickled, closures and
            globals included.
    """
    try:
        _Pickler(file := io.BytesIO(), protocol=5).dump(value)
    except Exception as error:
        raise explain(value, error, name) from error
    return file.getvalue()


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


def explain(
    value: object, error: BaseException, name: str = "value", where: str = ""
) -> SerializationError:
    """The error to raise when `value` could not be pickled: names the culprit inside it."""
    path, culprit = _culprit(value, name)
    kind = f"{type(culprit).__module__}.{type(culprit).__qualname__}"
    return SerializationError(
        f"cannot pickle {path} = {_short(culprit)} ({kind}){where}: "
        f"{type(error).__name__}: {error}. Make it inside the remote function, or pass what it "
        "is made from."
    )


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a user's __repr__ must not hide the first error
        text = f"<repr failed: {error!r}>"
    return text if len(text) <= 80 else text[:77] + "..."


def explain_call(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], error: BaseException, name: str
) -> SerializationError:
    """As `explain`, for the arguments of a call: says which of them it is."""
    named = [*((f"argument {i}", arg) for i, arg in enumerate(args)), *kwargs.items()]
    for which, value in named:
        if not _pickles(value):
            return explain(value, error, which, f" in the call of {name}")
    return explain((args, dict(kwargs)), error, "arguments", f" in the call of {name}")


def _culprit(value: object, path: str) -> tuple[str, object]:
    """Walk into the first part that cannot be pickled, until no part of it is to blame."""
    seen = {id(value)}
    for _ in range(32):
        for step, part in _parts(value):
            if id(part) not in seen and not _pickles(part):
                seen.add(id(part))
                path, value = path + step, part
                break
        else:
            break
    return path, value


def _pickles(value: object) -> bool:
    try:
        cloudpickle.dumps(value, protocol=5)
    except Exception:  # noqa: BLE001 - any failure is the answer
        return False
    return True


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield from ((f"{{{_short(part)}}}", part) for part in value)
    else:
        yield from _function_parts(value)
        yield from _attributes(value)


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    state = getattr(value, "__dict__", None)
    if isinstance(state, dict) and not isinstance(value, type(io)):
        yield from ((f".{name}", part) for name, part in list(state.items()))


def _function_parts(value: object) -> Iterator[tuple[str, object]]:
    function: Any = getattr(value, "__func__", value)
    code = getattr(function, "__code__", None)
    if code is None:
        if isinstance(value, type):
            yield from ((f".{name}", part) for name, part in list(vars(value).items()))
        return
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f" -> closure variable {name!r}", cell.cell_contents
        except ValueError:  # an empty cell: the variable is not assigned yet
            continue
    for name in code.co_names:
        if name in function.__globals__:
            yield f" -> global {name!r}", function.__globals__[name]
