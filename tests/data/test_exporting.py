"""All rows into other hands."""

import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


def test_references_have_the_rows_in_order():
    ds = ray.data.range(4, override_num_blocks=2)
    assert [ray.get(ref)["id"].to_pylist() for ref in ds.to_arrow_refs()] == [[0, 1], [2, 3]]
    assert [ray.get(ref)["id"].tolist() for ref in ds.to_pandas_refs()] == [[0, 1], [2, 3]]
    assert [ray.get(ref)["id"].tolist() for ref in ds.to_numpy_refs()] == [[0, 1], [2, 3]]
    assert ray.get(ds.to_numpy_refs(column="id")[1]).tolist() == [2, 3]
    with pytest.raises(KeyError, match="nope"):
        ds.to_numpy_refs(column="nope")


def test_a_dataset_without_rows_has_its_columns():
    assert ray.data.range(0).to_arrow().column_names == ["id"]
