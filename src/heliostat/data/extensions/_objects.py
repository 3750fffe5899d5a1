"""Columns of any Python objects: pickles in Arrow, objects in pandas.

Whoever makes somebody unpickle a value runs code there, so a value carries a seal that only this
user can make, with a key in the user's state folder; one without it is refused, wherever it is from.
"""

import contextlib
import functools
import hmac
import logging
import os
import pickle
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # it has none
import numpy as np
import pandas as pd
import pyarrow as pa

from heliostat._state_folder import state_folder
from heliostat.data.arrays import TRUST
from heliostat.data.context import DataContext

__all__ = [
    "ArrowPythonObjectArray",
    "ArrowPythonObjectScalar",
    "ArrowPythonObjectType",
    "PythonObjectArray",
    "PythonObjectDtype",
]

logger = logging.getLogger(__name__)

_TOLD: set[str] = set()

SEAL_BYTES = 32


@functools.cache
def _key() -> bytes:
    """This user's key, the same for all processes; made by the first that needs one."""
    path = state_folder("objects") / "key"
    if not path.exists():
        draft = path.with_name(f"draft-{secrets.token_hex(8)}")
        draft.touch(0o600)
        draft.write_bytes(secrets.token_bytes(SEAL_BYTES))
        with contextlib.suppress(FileExistsError):  # another process was first
            path.hardlink_to(draft)
        draft.unlink()
    return path.read_bytes()


def _sealed(value: Any) -> bytes:
    content: bytes = cloudpickle.dumps(value)
    return hmac.digest(_key(), content, "sha256") + content


def _opened(sealed: bytes) -> Any:
    seal, content = sealed[:SEAL_BYTES], sealed[SEAL_BYTES:]
    mine = hmac.compare_digest(seal, hmac.digest(_key(), content, "sha256"))
    if not mine and os.environ.get(TRUST) != "1":
        raise ValueError(
            "this column holds pickled objects that were not written by this user on this machine, "
            f"and unpickling runs whatever code is in them; if you trust their source, set {TRUST}=1"
        )
    return pickle.loads(content)


def _tell(what: str, why: str) -> None:
    if what in _TOLD:
        return
    _TOLD.add(what)
    logger.warning(
        "%s is kept as pickled objects, which is slow and no native step can look into: %s. Give "
        "all its values one type that Arrow knows, if they have one",
        what,
        why,
    )


def kept(values: Iterable[Any], what: str, why: str) -> "ArrowPythonObjectArray":
    """Values that Arrow has no type for, as objects.

    Args:
        values: Of a column.
        what: That column, in words.
        why: What Arrow says.

    Raises:
        ValueError: If one cannot be pickled, or the user wants no such columns.
    """
    remedy = "Give all its values one type that Arrow knows"
    if DataContext.get_current().enable_fallback_to_arrow_object_ext_type is False:
        raise ValueError(f"{what} cannot be stored: {why}. {remedy}")
    try:
        made = ArrowPythonObjectArray.from_objects(values)
    except Exception as error:
        raise ValueError(
            f"{what} cannot be stored: {why}; nor can it be pickled: {error}. {remedy}"
        ) from error
    _tell(what, why)
    return made


class ArrowPythonObjectType(pa.ExtensionType):
    """The type of a column of pickled objects.

    Example:
        >>> ArrowPythonObjectType().extension_name
        'heliostat.python_object'
    """

    def __init__(self) -> None:
        super().__init__(pa.large_binary(), "heliostat.python_object")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(
        cls, storage_type: pa.DataType, serialized: bytes
    ) -> "ArrowPythonObjectType":
        if storage_type != pa.large_binary():
            raise pa.ArrowInvalid(f"a column of type {storage_type} says that it holds objects")
        return cls()

    def __arrow_ext_scalar_class__(self) -> type:
        return ArrowPythonObjectScalar

    def __arrow_ext_class__(self) -> type:
        return ArrowPythonObjectArray

    def __reduce__(self) -> Any:
        return ArrowPythonObjectType, ()

    def __hash__(self) -> int:
        return hash(self.extension_name)

    def to_pandas_dtype(self) -> Any:
        """What a column of pandas' has."""
        return PythonObjectDtype()


class ArrowPythonObjectScalar(pa.ExtensionScalar):
    """One value of a column of pickled objects."""

    def as_py(self, **kwargs: Any) -> Any:
        """The object.

        Args:
            kwargs: As of Arrow's scalars; they are for maps, and say nothing here.

        Raises:
            ValueError: If it was pickled by somebody else.
        """
        sealed: Any = self.value
        return None if sealed is None else _opened(sealed.as_py())


class ArrowPythonObjectArray(pa.ExtensionArray):  # type: ignore[type-arg]  # it takes none as it runs
    """A column of pickled objects.

    Example:
        >>> import heliostat as ray
        >>> objects = ArrowPythonObjectArray.from_objects([{1, 2}, print])
        >>> ray.data.from_arrow(pa.table({"any": objects})).take(1)
        [{'any': {1, 2}}]
    """

    @staticmethod
    def from_objects(objects: Iterable[Any]) -> "ArrowPythonObjectArray":
        """Any objects as a column.

        Args:
            objects: What can be pickled.
        """
        sealed = [None if one is None else _sealed(one) for one in objects]
        content = pa.array(sealed, pa.large_binary())
        made: Any = pa.ExtensionArray.from_storage(ArrowPythonObjectType(), content)
        return made  # type: ignore[no-any-return]

    def to_numpy(self, zero_copy_only: bool = False, writable: bool = False) -> Any:
        """The objects as an array.

        Args:
            zero_copy_only: Objects are made anew, so True is refused.
            writable: It always is.

        Raises:
            pa.ArrowInvalid: For `zero_copy_only`.
        """
        if zero_copy_only:
            raise pa.ArrowInvalid("objects are unpickled, which is a copy: zero_copy_only=False")
        column: Any = self
        return _array(column.to_pylist())


def _array(values: Iterable[Any]) -> "np.ndarray[Any, Any]":
    found = list(values)
    made = np.empty(len(found), object)
    for position, value in enumerate(found):  # numpy would take lists apart
        made[position] = value
    return made


class PythonObjectArray(pd.api.extensions.ExtensionArray):
    """A column of pandas' that holds objects as they are, and becomes one of pickled objects in Arrow.

    Args:
        values: The objects.

    Example:
        >>> frame = pd.DataFrame({"any": PythonObjectArray([{1}, [2, 3]])})
        >>> pa.Table.from_pandas(frame).column("any").to_pylist()
        [{1}, [2, 3]]
    """

    def __init__(self, values: Iterable[Any]) -> None:
        self.values = _array(values)

    @classmethod
    def _from_sequence(
        cls, scalars: Sequence[Any], *, dtype: Any = None, copy: bool = False
    ) -> "PythonObjectArray":
        return cls(scalars)

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence["PythonObjectArray"]) -> "PythonObjectArray":
        return cls([value for part in to_concat for value in part.values])

    def __getitem__(self, item: Any) -> Any:
        item = pd.api.indexers.check_array_indexer(self, item)
        found = self.values[item]
        whole = isinstance(item, slice | np.ndarray)
        return PythonObjectArray(found) if whole else found

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[key] = value

    def __len__(self) -> int:
        return len(self.values)

    def __eq__(self, other: object) -> Any:
        if isinstance(other, pd.Series | pd.DataFrame | pd.Index):
            return NotImplemented
        theirs = other.values if isinstance(other, PythonObjectArray) else other
        return self.values == theirs

    @property
    def dtype(self) -> "PythonObjectDtype":
        """What pandas calls the column."""
        return PythonObjectDtype()

    @property
    def nbytes(self) -> int:
        """Of the references; the objects are elsewhere."""
        return int(self.values.nbytes)

    def __arrow_array__(self, type: Any = None) -> Any:
        return ArrowPythonObjectArray.from_objects(self.values)

    def isna(self) -> "np.ndarray[Any, Any]":
        """Which are None or NaN."""
        return np.array([one is None or one is pd.NA or one != one for one in self.values], bool)

    def take(
        self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None
    ) -> "PythonObjectArray":
        """Those at positions.

        Args:
            indices: Their positions; with `allow_fill`, -1 is one that is missing.
            allow_fill: Whether -1 is that, and not the last one.
            fill_value: What is there instead.
        """
        taken = pd.api.extensions.take(
            self.values, indices, allow_fill=allow_fill, fill_value=fill_value
        )
        return PythonObjectArray(taken)

    def copy(self) -> "PythonObjectArray":
        """Another array of the same objects."""
        return PythonObjectArray(self.values)


@pd.api.extensions.register_extension_dtype
class PythonObjectDtype(pd.api.extensions.ExtensionDtype):
    """What pandas calls a column of `PythonObjectArray`.

    Example:
        >>> pd.array([{1}], dtype="python_object()").dtype
        python_object()
    """

    type = object
    name = "python_object()"

    @classmethod
    def construct_from_string(cls, string: str) -> "PythonObjectDtype":
        """The dtype by its name.

        Args:
            string: The name.

        Raises:
            TypeError: For another one.
        """
        if string != cls.name:
            raise TypeError(f"Cannot construct a '{cls.__name__}' from '{string}'")
        return cls()

    @classmethod
    def construct_array_type(cls) -> Any:
        """The class of its columns."""
        return PythonObjectArray

    def __from_arrow__(self, array: Any) -> PythonObjectArray:
        return PythonObjectArray(array.to_pylist())

    def __repr__(self) -> str:
        return self.name


# The stubs know the older class only.
_REGISTER: Any = pa.register_extension_type
with contextlib.suppress(pa.ArrowKeyError):  # this module may be loaded twice
    _REGISTER(ArrowPythonObjectType())
