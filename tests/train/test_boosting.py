import pyarrow as pa
import pytest

from heliostat.train._boosting import check_types, numeric


def test_columns_that_are_not_numbers_are_all_named():
    types = {"a": pa.int8(), "zone": pa.string(), "when": pa.timestamp("s"), "ok": pa.bool_()}
    with pytest.raises(
        TypeError, match=r"'zone' of type string, 'when' of type timestamp\[s\]; drop"
    ):
        check_types("XGBoost", "datasets['train']", types)


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(),
        pa.uint64(),
        pa.float16(),
        pa.float64(),
        pa.bool_(),
        pa.decimal128(9, 2),
        pa.null(),
    ],
)
def test_numbers_of_every_kind_pass(kind):
    check_types("XGBoost", "datasets['train']", {"x": kind})


def test_only_what_xgboost_cannot_read_is_cast():
    table = pa.table({
        "i": pa.array([1, None]), "f": pa.array([1.5, 2.5]), "n": pa.nulls(2),
        "d": pa.array([1, 2]).cast(pa.decimal128(30, 2)),
    })  # fmt: skip
    cast = numeric(table)
    assert cast.schema.types == [pa.int64(), pa.float64(), pa.float32(), pa.float32()]
    assert cast.column("d").to_pylist() == [1.0, 2.0]
    assert (
        cast.column("i").chunk(0).buffers()[1].address
        == table.column("i").chunk(0).buffers()[1].address
    )
