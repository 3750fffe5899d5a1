"""Datasets of what other libraries hold."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import heliostat as ray

try:
    import polars
except ImportError:
    polars = None
else:
    # It keeps an event loop from its first query on.
    polars.LazyFrame({"a": [1]}).collect()

pytestmark = pytest.mark.usefixtures("inline")


def test_references_are_datasets():
    table = pa.table({"a": range(100_000)})
    ds = ray.data.from_arrow_refs([ray.put(table), ray.put(table.slice(0, 1))])
    assert (ds.count(), ds.num_blocks()) == (100_001, 2)
    assert ds.map_batches(lambda batch: batch).count() == 100_001
    assert ray.data.from_pandas_refs(ray.put(pd.DataFrame({"a": [1]}))).take_all() == [{"a": 1}]
    assert ray.data.from_numpy_refs([ray.put(np.ones((2, 3)))]).take(1)[0]["data"].shape == (3,)


def test_what_speaks_arrow_is_a_source_and_a_dataset_speaks_it_too():
    ds = ray.data.range(3)
    assert pa.table(ds).column("id").to_pylist() == [0, 1, 2]
    assert ray.data.from_arrow([ds, pa.record_batch({"id": [7]})]).count() == 4
    with pytest.raises(TypeError, match="__arrow_c_stream__, got int"):
        ray.data.from_arrow(3)


@pytest.mark.skipif(polars is None, reason="polars is not installed")
def test_polars_goes_both_ways():
    frame = polars.DataFrame({"a": [1, 2], "b": ["x", None]})
    ds = ray.data.from_polars([frame, frame.lazy()])
    assert ds.count() == 4
    assert ds.to_polars().equals(polars.concat([frame, frame]))
    assert polars.DataFrame(ray.data.range(2)).columns == ["id"]


def test_hugging_face_datasets_are_taken_whole_and_in_their_order():
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_dict({"a": list(range(10)), "b": [[n] for n in range(10)]})
    ds = ray.data.from_huggingface(whole, override_num_blocks=3)
    assert ds.num_blocks() == 3
    assert ds.take_all()[9] == {"a": 9, "b": [9]}
    chosen = ray.data.from_huggingface(whole.select([5, 2]))
    assert [row["a"] for row in chosen.take_all()] == [5, 2]
    stream = ray.data.from_huggingface(whole.to_iterable_dataset())
    assert [row["a"] for row in stream.take(3)] == [0, 1, 2]
    assert (stream.count(), stream.materialize().count()) == (10, 10)
    parts = stream.train_test_split(0.2)
    assert [part.count() for part in parts] == [8, 2]
    with pytest.raises(TypeError, match=r"choose one of \['train'\]"):
        ray.data.from_huggingface(datasets.DatasetDict({"train": whole}))
    with pytest.raises(TypeError, match="got int"):
        ray.data.from_huggingface(3)


def test_torch_datasets_are_read_when_rows_are_wanted():
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.arange(3))
    ds = ray.data.from_torch(data)
    assert [row["item"] for row in ds.take_all()] == [[0], [1], [2]]

    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            number = 0
            while True:
                yield {"n": number}
                number += 1

    class Few(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([5, 6])

    few = ray.data.from_torch(Few())
    assert (few.count(), "num_rows=0" in repr(few)) == (2, False)
    assert few.repartition(2).take_all() == [{"item": 5}, {"item": 6}]
    assert ray.data.from_torch(Endless()).take(2) == [{"item": {"n": 0}}, {"item": {"n": 1}}]
    with pytest.raises(TypeError, match="got int"):
        ray.data.from_torch(3)


class Tf:
    def __init__(self, elements):
        self.elements = elements

    def as_numpy_iterator(self):
        return iter(self.elements)


def test_tf_datasets_are_read():
    assert ray.data.from_tf(Tf([np.int64(1), np.int64(2)])).take_all() == [{"item": 1}, {"item": 2}]
    rows = ray.data.from_tf(Tf([{"x": np.ones(2), "y": np.int64(0)}])).take_all()
    assert (rows[0]["x"].tolist(), rows[0]["y"]) == ([1, 1], 0)
    assert ray.data.from_tf(Tf([])).take_all() == []
    with pytest.raises(TypeError, match="got int"):
        ray.data.from_tf(3)
