"""Blocks to torch tensors. torch is loaded here, when somebody asks for tensors."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.block import require_columns, to_batch
from heliostat.data.collate_fn import CollateFn


def torch_converter(
    dtypes: Any,
    device: Any,
    collate_fn: Any,
    pin_memory: bool,
    owned: bool = False,
    slab: int = 1,
) -> Callable[[pa.Table], Any]:
    """What makes a batch of tensors of a table.

    Args:
        dtypes: One torch dtype, or one by column.
        device: Where to; `"auto"` is the GPU if there is one.
        collate_fn: A function of a numpy batch, or a CollateFn.
        pin_memory: Through page-locked memory.
        owned: Nobody else has the table, so that the tensors may lie in its memory.
        slab: How many batches may be in a table, which its columns are cut into.

    Returns:
        A function.

    Raises:
        ImportError: if torch is not installed.
        TypeError: if a dtype is none of torch's.
        ValueError: if `dtypes` and `collate_fn` are both given.
    """
    try:
        import torch  # noqa: PLC0415 - optional, and takes longer than all else here
    except ImportError as error:
        raise ImportError("iter_torch_batches needs torch: pip install torch") from error
    if collate_fn is not None and dtypes is not None:
        raise ValueError("give either dtypes or collate_fn: a collate_fn makes the types itself")
    _check_dtypes(torch, dtypes)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    there = device is None or torch.device(device).type == "cpu"

    def place(value: Any) -> Any:
        # What a collate_fn gives is left as it is, a tuple of a class of the user's among it.
        return value if there and not pin_memory else _placed(torch, value, device, pin_memory)

    def convert(table: pa.Table) -> Any:
        if collate_fn is not None:
            form = collate_fn.batch_format if isinstance(collate_fn, CollateFn) else "numpy"
            return place(collate_fn(to_batch(table, form, writable=True, owned=owned)))
        if isinstance(dtypes, Mapping):
            require_columns(list(dtypes), table.column_names, "dtypes")
        arrays = to_batch(table, "numpy", writable=True, owned=owned)
        return {name: column(name, array) for name, array in arrays.items()}

    def column(name: str, array: "np.ndarray[Any, Any]") -> Any:
        def tensor(part: "np.ndarray[Any, Any]") -> Any:
            return place(_tensor(torch, part, name, _dtype(dtypes, name)))

        return _EachBatch(array, tensor) if slab > 1 and array.dtype == object else tensor(array)

    return convert


def _check_dtypes(torch: Any, dtypes: Any) -> None:
    for one in dtypes.values() if isinstance(dtypes, Mapping) else (dtypes,):
        if one is not None and not isinstance(one, torch.dtype):
            raise TypeError(f"dtypes must be of torch, such as torch.float32, got {one!r:.80}")


class _EachBatch:
    """A column of lists, which are of one length within a batch, if they are in no other."""

    def __init__(self, array: "np.ndarray[Any, Any]", tensor: Callable[[Any], Any]) -> None:
        self._array, self._tensor = array, tensor

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, batch: slice) -> Any:
        return self._tensor(self._array[batch])


def _placed(torch: Any, value: Any, device: Any, pin_memory: bool) -> Any:
    """The tensors in a value on the device; None leaves them where they are."""
    if isinstance(value, torch.Tensor):
        if pin_memory and torch.cuda.is_available():
            value = value.pin_memory()
        return value if device is None else value.to(device, non_blocking=pin_memory)
    if isinstance(value, Mapping):
        return {name: _placed(torch, one, device, pin_memory) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_placed(torch, one, device, pin_memory) for one in value)
    return value


def _dtype(dtypes: Any, name: str) -> Any:
    return dtypes.get(name) if isinstance(dtypes, Mapping) else dtypes


def _tensor(torch: Any, array: "np.ndarray[Any, Any]", name: str, dtype: Any) -> Any:
    if array.dtype == object:
        array = _regular(array, name)
    try:
        tensor = torch.from_numpy(array)
    except TypeError as error:
        raise _no_numbers(name, array.dtype) from error
    return tensor if dtype is None else tensor.to(dtype)


def _regular(array: "np.ndarray[Any, Any]", name: str) -> "np.ndarray[Any, Any]":
    """Lists of one length as an array of two dimensions."""
    if all(one is None for one in array):  # as of floats, of which none is there
        return np.full(len(array), np.nan, np.float32)
    shapes = {getattr(one, "shape", None) for one in array}
    if len(shapes) != 1 or None in shapes:
        kinds = sorted({type(one).__name__ for one in array[:100]})
        if None not in shapes:
            kinds = [f"arrays of shape {shape}" for shape in sorted(shapes, key=str)[:3]]
        raise _no_numbers(name, " and ".join(kinds))
    return np.stack(list(array))


def _no_numbers(name: str, kind: object) -> TypeError:
    return TypeError(
        f"column {name!r} holds {kind}, which torch has no tensor for; leave it out with "
        "drop_columns, turn it into numbers before, or give a collate_fn"
    )
