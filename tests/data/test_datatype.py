"""Types of columns by Ray's names: of Arrow, numpy and Python, what each is, and what becomes of it."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from heliostat.data.datatype import DataType, TypeCategory

KINDS = [
    "arrow",
    "binary",
    "boolean",
    "floating",
    "integer",
    "list",
    "map",
    "nested",
    "null",
    "numerical",
    "numpy",
    "python",
    "string",
    "struct",
    "temporal",
    "tensor",
    "uint64",
]


# As real Ray 2.60 says of each.
@pytest.mark.parametrize(
    ("kind", "is_"),
    [
        (DataType.from_numpy("int32"), "integer numerical numpy"),
        (DataType(int), "integer numerical python"),
        (DataType(str), "python string"),
        (DataType(bytes), "binary python"),
        (DataType(list), "python"),
        (DataType(datetime.datetime), "python temporal"),
        (DataType.uint64(), "arrow integer numerical uint64"),
        (DataType.bool(), "arrow boolean"),
        (DataType.float32(), "arrow floating numerical"),
        (DataType(pa.decimal128(5, 2)), "arrow numerical"),
        (DataType(pa.large_string()), "arrow string"),
        (DataType.binary(), "arrow binary"),
        (DataType.large_list(DataType.int8()), "arrow list nested"),
        (DataType.fixed_size_list(DataType.int8(), 2), "arrow list nested"),
        (DataType.struct([("a", DataType.int8())]), "arrow nested struct"),
        (DataType.map(DataType.string(), DataType.int8()), "arrow map nested"),
        (DataType.tensor((2,), DataType.int8()), "arrow tensor"),
        (DataType.variable_shaped_tensor(DataType.int8(), 3), "arrow tensor"),
        (DataType.temporal("date32"), "arrow temporal"),
        (DataType.from_numpy("datetime64[ns]"), "numpy temporal"),
        (DataType(pa.null()), "arrow null"),
    ],
)
def test_a_type_knows_what_it_is(kind, is_):
    assert [name for name in KINDS if getattr(kind, f"is_{name}_type")()] == is_.split()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (5, "arrow:int64"), ("x", "arrow:string"), (None, "arrow:null"), ([1], "arrow:list<item: int64>"),
        (np.ones((2, 2)), "numpy:float64"), (np.int8(3), "numpy:int8"), (object(), "python:object"),
    ],
)  # fmt: skip
def test_the_type_of_a_value(value, told):
    assert repr(DataType.infer_dtype(value)) == f"DataType({told})"


def test_whatever_names_a_type():
    for given in (np.dtype("int8"), "int8", np.int8(1).dtype):
        assert DataType.from_dtype(given) == DataType.from_numpy("int8")
    assert DataType.from_dtype(pa.string()) == DataType.string()
    assert DataType.from_dtype(DataType.int8()) == DataType.int8() != DataType.from_numpy("int8")
    assert DataType.from_dtype(object()) is None
    with pytest.raises(TypeError, match="is of Arrow, numpy or Python, got 5"):
        DataType(5)


def test_what_becomes_of_a_type():
    assert DataType.from_numpy("int32").to_arrow_dtype() == pa.int32()
    assert DataType(int).to_arrow_dtype() == pa.int64()
    assert DataType(list).to_arrow_dtype([[1]]) == pa.list_(pa.int64())
    with pytest.raises(TypeError, match="give values of it"):
        DataType(list).to_arrow_dtype()
    found = [
        DataType.int8(),
        DataType.string(),
        DataType(int),
        DataType.temporal("timestamp", "ns"),
    ]
    assert [kind.to_numpy_dtype().str for kind in found] == ["|i1", "|O", "|O", "<M8[ns]"]
    assert DataType(int).to_python_type() is int
    with pytest.raises(ValueError, match="not of a class"):
        DataType.int8().to_python_type()


def test_times_have_units():
    assert DataType.temporal("timestamp", "ns", "UTC").arrow == pa.timestamp("ns", "UTC")
    kinds = ("time32", "time64", "date64")
    assert [str(DataType.temporal(one).arrow) for one in kinds] == [
        "time32[s]",
        "time64[us]",
        "date64[ms]",
    ]
    with pytest.raises(ValueError, match=r"must be one of timestamp, .*got 'zz'"):
        DataType.temporal("zz")


def test_a_kind_is_asked_for_by_name_or_number():
    assert DataType.temporal("duration").is_of("temporal")
    assert not DataType.list(DataType.int8()).is_of(TypeCategory.LARGE_LIST)
