from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

import heliostat as ray
from heliostat.data.collate_fn import ArrowBatchCollateFn, PandasBatchCollateFn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("inline")


def test_batches_are_tensors_that_may_be_written_to():
    ds = ray.data.from_items([{"a": i, "b": i / 2, "c": i > 1} for i in range(5)])
    batches = list(ds.iter_torch_batches(batch_size=2))
    assert [len(batch["a"]) for batch in batches] == [2, 2, 1]
    assert batches[0]["a"].dtype == torch.int64
    assert batches[0]["b"].dtype == torch.float64
    assert batches[1]["c"].tolist() == [True, True]
    batches[0]["a"][0] = 99
    assert next(iter(ds.iter_torch_batches(batch_size=2)))["a"][0] == 0


def test_tensors_of_files_may_be_written_to_and_the_next_pass_reads_them_anew(tmp_path):
    ray.data.from_items([{"a": i, "b": i / 2} for i in range(5)]).write_parquet(str(tmp_path))
    ds = ray.data.read_parquet(str(tmp_path)).rename_columns({"a": "n"}).select_columns(["n"])
    for _ in range(2):
        whole = torch.cat([batch["n"].neg_() for batch in ds.iter_torch_batches(batch_size=2)])
        assert whole.tolist() == [0, -1, -2, -3, -4]


def test_types_may_be_given_for_all_or_by_column():
    ds = ray.data.from_items([{"a": 1, "b": 2}])
    assert next(iter(ds.iter_torch_batches(dtypes=torch.float32)))["b"].dtype == torch.float32
    batch = next(iter(ds.iter_torch_batches(dtypes={"a": torch.int8})))
    assert (batch["a"].dtype, batch["b"].dtype) == (torch.int8, torch.int64)


def test_what_is_no_dtype_is_told_at_once():
    for wrong in ("x", {"id": np.float32}):
        with pytest.raises(TypeError, match=r"dtypes must be of torch, such as torch.float32"):
            next(iter(ray.data.range(1).iter_torch_batches(dtypes=wrong)))


def test_a_type_for_a_column_that_is_not_there_is_refused():
    with pytest.raises(KeyError, match="'zz'"):
        next(iter(ray.data.range(2).iter_torch_batches(dtypes={"zz": torch.int32})))


def test_what_a_collate_function_gives_is_left_as_it_is():
    class Pair(NamedTuple):
        x: torch.Tensor
        y: torch.Tensor

    batches = ray.data.range(2).iter_torch_batches(
        collate_fn=lambda batch: Pair(torch.as_tensor(batch["id"]), torch.ones(2))
    )
    (pair,) = batches
    assert type(pair) is Pair
    assert pair.x.tolist() == [0, 1]


def test_arrays_and_lists_of_one_length_are_tensors_of_more_dimensions():
    ds = ray.data.from_numpy(np.zeros((4, 2, 3)))
    assert next(iter(ds.iter_torch_batches(batch_size=4)))["data"].shape == (4, 2, 3)
    lists = ray.data.from_items([{"v": [1, 2]}, {"v": [3, 4]}])
    assert next(iter(lists.iter_torch_batches()))["v"].tolist() == [[1, 2], [3, 4]]


def test_lists_need_one_length_in_a_batch_only():
    ds = ray.data.from_arrow(pa.table({"x": [[1], [2], [1, 2], [3, 4]], "y": [1, 2, 3, 4]}))
    one, two = ds.iter_torch_batches(batch_size=2)
    assert one["x"].tolist() == [[1], [2]]
    assert two["x"].tolist() == [[1, 2], [3, 4]]
    assert two["y"].tolist() == [3, 4]
    (whole,) = ds.select_columns(["y"]).iter_torch_batches(batch_size=4)
    assert whole["y"].tolist() == [1, 2, 3, 4]


def test_what_is_nothing_but_null_is_nan():
    ds = ray.data.from_arrow(pa.table({"x": pa.nulls(3)}))
    for batch_size in (2, None):
        assert all(
            batch["x"].isnan().all() for batch in ds.iter_torch_batches(batch_size=batch_size)
        )


def test_what_torch_has_no_tensor_for_is_told_by_its_column():
    ragged = ray.data.from_items([{"a": np.zeros(1)}, {"a": np.zeros(2)}])
    with pytest.raises(TypeError, match=r"arrays of shape \(1,\) and arrays of shape \(2,\)"):
        list(ragged.iter_torch_batches())
    with pytest.raises(TypeError, match="column 'item' holds str, which torch has no tensor for"):
        next(iter(ray.data.from_items(["a"]).iter_torch_batches()))


def test_a_collate_function_sees_the_form_its_class_says():
    ds = ray.data.range(4)

    class Rows(ArrowBatchCollateFn):
        def __call__(self, batch):
            assert isinstance(batch, pa.Table)
            return torch.tensor(batch.num_rows)

    class Frame(PandasBatchCollateFn):
        def __call__(self, batch):
            return {"n": torch.tensor(batch["id"].to_numpy().copy())}

    assert [int(n) for n in ds.iter_torch_batches(batch_size=3, collate_fn=Rows())] == [3, 1]
    assert next(iter(ds.iter_torch_batches(collate_fn=Frame())))["n"].tolist() == [0, 1, 2, 3]
    doubled = ds.iter_torch_batches(collate_fn=lambda batch: torch.as_tensor(batch["id"] * 2))
    assert next(iter(doubled)).tolist() == [0, 2, 4, 6]
    with pytest.raises(ValueError, match="either dtypes or collate_fn"):
        ds.iter_torch_batches(collate_fn=Rows(), dtypes=torch.int8)


def test_rows_may_be_shuffled_and_go_to_a_device_by_name():
    batches = list(
        ray.data.range(50).iter_torch_batches(
            batch_size=10, device="cpu", local_shuffle_buffer_size=20, local_shuffle_seed=1
        )
    )
    assert sorted(torch.cat([batch["id"] for batch in batches]).tolist()) == list(range(50))


@pytest.mark.parametrize("given", [0, 3, 33])
@pytest.mark.parametrize("drop_last", [False, True])
def test_small_batches_are_views_of_larger_ones_and_can_be_gone_on_with(
    given, drop_last, monkeypatch
):
    monkeypatch.setattr("heliostat.data.frameworks.SLAB_ROWS", 40)
    ds = ray.data.range(253, override_num_blocks=5)
    iterator = ds.iterator()
    batches = iterator.iter_torch_batches(batch_size=7, drop_last=drop_last)
    first = [next(batches)["id"].tolist() for _ in range(given)]
    again = ds.iterator()
    again.load_state(iterator.state())
    rest = [b["id"].tolist() for b in batches]
    assert rest == [
        b["id"].tolist() for b in again.iter_torch_batches(batch_size=7, drop_last=drop_last)
    ]
    assert [i for one in first + rest for i in one] == list(range(252 if drop_last else 253))
    assert {len(one) for one in (first + rest)[:-1]} == {7}
