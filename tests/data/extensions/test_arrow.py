"""Ray's names for columns of tensors: what they make is what Data makes, and they know it again."""

import numpy as np
import pyarrow as pa
import pytest

from heliostat import data
from heliostat.data import extensions as ext


def kind_of(dataset):
    return dataset.schema().types[0]


def test_a_dataset_s_tensors_are_of_the_types_that_are_named(inline):
    same = kind_of(data.from_numpy(np.zeros((3, 2, 2), "f4")))
    assert same == ext.ArrowTensorType((2, 2), pa.float32())
    assert same == ext.create_arrow_fixed_shape_tensor_type((2, 2), pa.float32())
    assert isinstance(same, ext.ArrowTensorType)
    assert isinstance(same, ext.ArrowTensorTypeV2)
    assert isinstance(same, ext.FixedShapeTensorType)
    assert not isinstance(same, ext.ArrowVariableShapedTensorType)
    assert isinstance(same, ext.get_arrow_extension_tensor_types())
    ragged = kind_of(data.from_items([{"x": np.zeros((1, 2))}, {"x": np.zeros((2, 2))}]))
    assert isinstance(ragged, ext.ArrowVariableShapedTensorType)
    assert ragged == ext.ArrowVariableShapedTensorType(pa.float64())
    assert isinstance(ragged, ext.get_arrow_extension_tensor_types())
    assert not isinstance(ragged, ext.ArrowTensorType)
    assert not isinstance(pa.int64(), ext.get_arrow_extension_tensor_types())


@pytest.mark.parametrize("name", ["V1", "V2", "ARROW_NATIVE"])
def test_every_format_is_arrow_s_own(name):
    assert ext.FixedShapeTensorFormat[name].to_type() is pa.FixedShapeTensorType


def test_arrays_of_one_shape_become_a_column_and_come_back():
    values = np.arange(12).reshape(3, 2, 2)
    for given in (values, list(values), values.transpose(0, 2, 1).transpose(0, 2, 1)):
        column = ext.ArrowTensorArray.from_numpy(given)
        assert isinstance(column, ext.ArrowTensorArray)
        assert not isinstance(column, ext.ArrowVariableShapedTensorArray)
        assert not isinstance(column, ext.ArrowTensorType)
        assert column.to_numpy_ndarray().tolist() == values.tolist()


def test_a_column_without_a_dimension_more_is_no_tensor():
    assert ext.ArrowTensorArray.from_numpy(np.arange(3)).to_pylist() == [0, 1, 2]


def test_arrays_of_several_shapes_become_a_column_and_rows_again(inline):
    values = [np.ones((1, 2)), np.zeros((3, 1)), None]
    column = ext.ArrowVariableShapedTensorArray.from_numpy(values)
    assert isinstance(column, ext.ArrowVariableShapedTensorArray)
    assert not isinstance(column, ext.ArrowTensorArray)
    rows = data.from_arrow(pa.table({"x": column})).take_all()
    assert [None if row["x"] is None else row["x"].shape for row in rows] == [(1, 2), (3, 1), None]
    assert isinstance(
        ext.ArrowTensorArray.from_numpy(values[:2]), ext.ArrowVariableShapedTensorArray
    )


@pytest.mark.parametrize("given", [[np.ones((1, 2)), np.ones((2, 1), "i4")], [np.array(["a"])], []])
def test_what_has_no_one_type_of_numbers_is_refused(given):
    with pytest.raises(ext.ArrowConversionError, match=r"column 'x': .*numbers of one type"):
        ext.ArrowVariableShapedTensorArray.from_numpy(given, "x")


def test_what_arrow_has_no_type_for_is_refused_with_its_column():
    with pytest.raises(ext.ArrowConversionError, match="column 'locks'"):
        ext.ArrowTensorArray.from_numpy([object()], "locks")
    assert str(ext.ArrowConversionError("x" * 300)).endswith("x" * 200 + "...")
