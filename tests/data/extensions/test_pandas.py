"""Columns of tensors in pandas: they compute as arrays do and become tensors of Data's."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from heliostat import data
from heliostat.data.extensions import (
    TensorArray,
    TensorArrayElement,
    TensorDtype,
    column_needs_tensor_extension,
)

VALUES = np.arange(12.0).reshape(3, 2, 2)


def ragged():
    return TensorArray([np.ones((1, 2)), np.zeros((2, 2))])


def test_a_frame_with_tensors_becomes_a_dataset_with_tensors(inline):
    frame = pd.DataFrame({"n": [1, 2, 3], "t": TensorArray(VALUES)})
    dataset = data.from_pandas(frame)
    assert dataset.take_batch(3)["t"].tolist() == VALUES.tolist()
    assert dataset.schema().types[1] == pa.fixed_shape_tensor(pa.float64(), (2, 2))


def test_a_function_over_frames_may_give_them(inline):
    def double(frame):
        return pd.DataFrame({"t": TensorArray(np.stack(frame["t"].to_list())) * 2})

    made = data.from_pandas(pd.DataFrame({"t": TensorArray(VALUES)}))
    doubled = made.map_batches(double, batch_format="pandas").take_batch(3)["t"]
    assert doubled.tolist() == (VALUES * 2).tolist()


def test_arrow_and_pandas_give_one_another_what_they_got():
    for column in (TensorArray(VALUES), ragged()):
        table = pa.Table.from_pandas(pd.DataFrame({"t": column}))
        kind = column.dtype
        back = table.to_pandas(types_mapper=lambda _, kind=kind: kind)["t"]
        assert back.dtype == kind
        assert [one.to_numpy().tolist() for one in back] == [
            one.tolist() for one in column.to_numpy()
        ]


def test_it_has_the_shape_and_type_of_its_tensors():
    column = TensorArray(VALUES)
    assert (column.dtype.element_shape, column.dtype.element_dtype) == ((2, 2), np.dtype("f8"))
    assert (column.numpy_shape, column.numpy_ndim, column.numpy_size) == ((3, 2, 2), 3, 12)
    assert (column.numpy_dtype, column.nbytes, len(column)) == (np.dtype("f8"), 96, 3)
    assert not column.is_variable_shaped
    several = ragged()
    assert several.is_variable_shaped
    assert several.dtype.is_variable_shaped
    assert several.dtype.element_shape == (None, None)
    assert several.nbytes == 48


def test_one_is_an_array_that_says_so():
    one = TensorArray(VALUES)[1]
    assert isinstance(one, TensorArrayElement)
    assert (one.numpy_shape, one.numpy_ndim, one.numpy_size) == ((2, 2), 2, 4)
    assert one.numpy_dtype == np.dtype("f8")
    assert np.asarray(one).tolist() == one.to_numpy().tolist() == VALUES[1].tolist()
    assert str(one) == str(VALUES[1])
    assert repr(one) == repr(VALUES[1])
    few = TensorArrayElement(np.array(2))
    assert (int(few), float(few), complex(few)) == (2, 2.0, 2 + 0j)


def test_it_computes_as_arrays_do():
    column, series = TensorArray(VALUES), pd.Series(TensorArray(VALUES))
    assert (column + 1).to_numpy().tolist() == (VALUES + 1).tolist()
    assert (2 - column).to_numpy().tolist() == (2 - VALUES).tolist()
    assert (column > 5).to_numpy().tolist() == (VALUES > 5).tolist()
    assert (column == VALUES).all()
    assert not (column != column).any()
    assert np.sqrt(column).to_numpy().tolist() == np.sqrt(VALUES).tolist()
    assert (series * series).array.to_numpy().tolist() == (VALUES**2).tolist()
    assert (column[0] + column[1]).to_numpy().tolist() == (VALUES[0] + VALUES[1]).tolist()


@pytest.mark.parametrize("name", ["sum", "mean", "min", "max", "prod", "std", "var", "median"])
def test_it_is_reduced_over_its_rows(name):
    made = TensorArray(VALUES)._reduce(name)
    assert made.to_numpy().tolist() == getattr(np, name)(VALUES, axis=0).tolist()


def test_a_reduction_of_another_name_is_refused():
    with pytest.raises(NotImplementedError, match="'kurt' of tensors"):
        TensorArray(VALUES)._reduce("kurt")
    assert TensorArray(VALUES)._reduce("sum", keepdims=True).numpy_shape == (1, 2, 2)


def test_rows_are_chosen_set_and_put_together():
    series = pd.Series(TensorArray(VALUES.copy()))
    assert series[series.index > 0].array.to_numpy().tolist() == VALUES[1:].tolist()
    assert series.iloc[::-1].array.to_numpy().tolist() == VALUES[::-1].tolist()
    series.array[0] = np.ones((2, 2))
    series.array[1] = series.array[0]
    series.array[2] = None
    assert series.isna().tolist() == [False, False, True]
    both = pd.concat([series[:1], pd.Series(ragged())])
    assert both.array.is_variable_shaped
    assert pd.concat([series, series]).array.numpy_shape == (6, 2, 2)
    longer = pd.Series(TensorArray(VALUES)).reindex([0, 9])
    assert longer.isna().tolist() == [False, True]
    with pytest.raises(ValueError, match="-2"):
        TensorArray(VALUES).take([-2], allow_fill=True)
    with pytest.raises(IndexError):
        TensorArray(VALUES[:0]).take([0], allow_fill=True)
    copied = series.array.copy()
    copied[0] = 7
    assert series.array.to_numpy()[0].tolist() == np.ones((2, 2)).tolist()


def test_it_becomes_another_type():
    column = TensorArray(VALUES.copy())
    assert column.astype("int32").numpy_dtype == np.dtype("i4")
    assert column.astype(TensorDtype((2, 2), "f4")).numpy_dtype == np.dtype("f4")
    assert ragged().astype(ragged().dtype).is_variable_shaped
    assert column.astype(object)[0].tolist() == VALUES[0].tolist()
    assert column.astype(str)[0] == str(VALUES[0])
    assert column.to_numpy("i8", copy=True).dtype == np.dtype("i8")
    column[0] = None
    assert column.to_numpy(na_value=-1.0)[0].tolist() == [[-1, -1], [-1, -1]]
    assert (repr(column), str(column)) == (repr(column.to_numpy()), str(column.to_numpy()))


def test_it_is_made_of_anything_that_is_an_array():
    made = TensorArray([TensorArrayElement(VALUES[0]), VALUES[1], VALUES[2].tolist()])
    assert made.to_numpy().tolist() == VALUES.tolist()
    assert TensorArray(pd.Series(list(VALUES))).numpy_shape == (3, 2, 2)
    assert TensorArray(TensorArrayElement(VALUES[0])).numpy_shape == (1, 2, 2)
    assert pd.Series(list(VALUES), dtype=TensorDtype((2, 2), "f8")).array.numpy_shape == (3, 2, 2)


@pytest.mark.parametrize("wrong", [["text"], [object()], np.array(1.0), [None]])
def test_what_is_no_tensor_is_refused(wrong):
    with pytest.raises(TypeError, match="a column of tensors"):
        TensorArray(wrong)


def test_a_column_is_not_made_of_a_column():
    with pytest.raises(TypeError, match="Use the copy"):
        TensorArray(TensorArray(VALUES))


def test_a_dtype_is_known_by_its_name():
    kind = TensorDtype((2, None), np.dtype("int8"))
    assert TensorDtype.construct_from_string(str(kind)) == kind
    assert pd.api.types.pandas_dtype("TensorDtype(shape=(2,), dtype=int64)").element_shape == (2,)
    assert kind.construct_array_type() is TensorArray
    assert not kind.is_variable_shaped
    for wrong in ("int64", "TensorDtype(shape=2, dtype=int8)", 5):
        with pytest.raises(TypeError, match="Cannot construct a 'TensorDtype'"):
            TensorDtype.construct_from_string(wrong)


def test_a_column_of_arrays_as_objects_needs_it():
    assert column_needs_tensor_extension(pd.Series(list(VALUES)))
    for series in (pd.Series([1]), pd.Series(["a"]), pd.Series([], dtype=object)):
        assert not column_needs_tensor_extension(series)
