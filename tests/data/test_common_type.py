import numpy as np
import pyarrow as pa
import pytest

import heliostat as ray
from heliostat.data._common_type import common_schema
from heliostat.data.block import concat, from_rows, iter_rows


def block(*values):
    return from_rows([{"a": value} for value in values])


def shaped(rows):
    return [np.asarray(row["a"]).shape for row in rows]


EMPTY, BOXES = block(np.zeros((0, 4))), block(np.zeros((2, 4)))
SEVERAL = block(np.zeros((2, 4)), np.zeros((1, 4)))
PAIRS, LISTS = block(np.arange(2), np.arange(2)), block(np.arange(1), np.arange(3))


@pytest.mark.parametrize(
    ("blocks", "shapes"),
    [
        ((EMPTY, BOXES), [(0, 4), (2, 4)]),
        ((BOXES, EMPTY), [(2, 4), (0, 4)]),
        ((SEVERAL, EMPTY), [(2, 4), (1, 4), (0, 4)]),
        ((PAIRS, LISTS), [(2,), (2,), (1,), (3,)]),
        ((LISTS, PAIRS), [(1,), (3,), (2,), (2,)]),
        ((block(np.arange(0)), PAIRS), [(0,), (2,), (2,)]),
        ((LISTS, BOXES), [(1,), (3,), (2, 4)]),
        ((block({1j}), BOXES), [(), (2, 4)]),
        ((SEVERAL, block({1j})), [(2, 4), (1, 4), ()]),
    ],
)
def test_arrays_keep_their_shapes_whatever_blocks_are_put_together(blocks, shapes):
    assert shaped(iter_rows(concat(blocks))) == shapes


def test_tensors_of_different_numbers_are_promoted_as_arrow_does():
    whole = concat([PAIRS, block(np.ones(2, np.float32))])
    assert whole.schema.field("a").type == pa.fixed_shape_tensor(pa.float64(), [2])
    assert [row["a"].tolist() for row in iter_rows(whole)] == [[0, 1], [0, 1], [1, 1]]
    assert concat([LISTS, block(np.ones(2))]).schema.field("a").type == pa.list_(pa.float64())


def test_what_fits_into_no_type_is_refused():
    with pytest.raises(ValueError, match=r"do not fit together.*string"):
        concat([PAIRS, block("x")])
    with pytest.raises(ValueError, match="nulls among their values are no tensors"):
        concat([block([1, None]), SEVERAL])


def test_null_columns_and_missing_ones_have_the_type_of_the_others():
    found = common_schema([block(None).schema, PAIRS.schema, pa.schema([("b", pa.int8())])])
    assert found.names == ["a", "b"]
    assert found.types == [PAIRS.schema.field("a").type, pa.int8()]
    assert concat([block(None), EMPTY]).column("a").null_count == 1


def test_no_boxes_in_a_picture_are_a_tensor_without_elements(tmp_path):
    ds = ray.data.range(6, override_num_blocks=3).map(
        lambda row: {"id": row["id"], "a": np.ones((row["id"] // 2, 4), np.float32)}
    )
    shapes = [(0, 4), (0, 4), (1, 4), (1, 4), (2, 4), (2, 4)]
    kept = ds.materialize()
    assert shaped(kept.take_all()) == shapes
    assert shaped(kept.sort("id", descending=True).take_all()) == shapes[::-1]
    assert [one.shape for one in kept.to_pandas()["a"]] == shapes
    assert shaped(ray.data.sql("select * from kept order by id", kept=kept).take_all()) == shapes
    assert kept.take_batch(2)["a"].shape == (2, 0, 4)
    kept.write_parquet(str(tmp_path))
    assert shaped(ray.data.read_parquet(str(tmp_path)).sort("id").take_all()) == shapes


def test_tokens_of_one_length_fit_those_of_several(tmp_path):
    ds = ray.data.range(8, override_num_blocks=1).map_batches(
        lambda batch: {"id": batch["id"], "a": [np.arange(1 + n // 6) for n in batch["id"]]},
        batch_size=4,
    )
    lengths = [1, 1, 1, 1, 1, 1, 2, 2]
    (batch,) = ds.iter_batches(batch_size=8)
    assert [len(one) for one in batch["a"]] == lengths
    ds.write_parquet(str(tmp_path))
    read = ray.data.read_parquet(str(tmp_path)).sort("id").take_all()
    assert [len(row["a"]) for row in read] == lengths


def test_the_schema_of_kept_rows_is_that_of_all_blocks():
    rows = ray.data.range(6, override_num_blocks=3).map(
        lambda row: {"a": None} if row["id"] < 2 else {"a": row["id"], "b": "x"}
    )
    kept = rows.materialize()
    assert kept.schema().names == ["a", "b"]
    assert kept.schema().types == [pa.int64(), pa.string()]
    assert kept.sum("a") == 14
    assert "None" in kept._repr_html_()
    assert "null" not in repr(kept).splitlines()[0]
