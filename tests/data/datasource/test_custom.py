"""Sources that users write."""

import pandas as pd
import pyarrow as pa
import pytest

import heliostat as ray
from heliostat.data.block import BlockMetadata

pytestmark = pytest.mark.usefixtures("inline")


class Numbers(ray.data.Datasource):
    def __init__(self, blocks, distributed=True):
        self.blocks = blocks
        self.distributed = distributed
        self.asked = []

    def get_read_tasks(self, parallelism, per_task_row_limit=None, data_context=None):
        self.asked.append(parallelism)
        return [
            ray.data.ReadTask(lambda one=one: one, BlockMetadata(None, None, None))
            for one in self.blocks
        ]

    @property
    def supports_distributed_reads(self):
        return self.distributed


def test_blocks_of_every_kind_become_rows():
    blocks = [[pa.table({"a": [1]})], [pd.DataFrame({"a": [2]}), {"a": [3]}], iter([])]
    source = Numbers(blocks, distributed=False)
    ds = ray.data.read_datasource(source)
    assert [row["a"] for row in ds.take_all()] == [1, 2, 3]
    assert (ds.columns(), "ReadNumbers" in repr(ray.data.read_datasource(source))) == (["a"], True)


def test_the_wanted_number_of_tasks_is_passed_on():
    source = Numbers([[{"a": [1]}]])
    ds = ray.data.read_datasource(source, override_num_blocks=7, concurrency=2)
    assert ds.select_columns(["a"]).limit(1).count() == 1
    assert source.asked == [7]


def test_a_task_gives_no_more_rows_than_its_limit():
    task = ray.data.ReadTask(
        lambda: [{"a": [1, 2]}, {"a": [3, 4]}, 1 / 0], BlockMetadata(4), per_task_row_limit=3
    )
    task = ray.data.ReadTask(
        lambda: iter([{"a": [1, 2]}, {"a": [3, 4]}]), BlockMetadata(4), per_task_row_limit=3
    )
    assert [block.num_rows for block in task()] == [2, 1]
    assert (task.rows, task.size_bytes) == (3, 0)


def test_what_is_no_source_is_named():
    with pytest.raises(TypeError, match="Datasource, got int"):
        ray.data.read_datasource(3)
    with pytest.raises(NotImplementedError, match="Datasource must define get_read_tasks"):
        ray.data.read_datasource(ray.data.Datasource()).take_all()
    with pytest.raises(ValueError, match=r"return \[block\]"):
        ray.data.read_datasource(Numbers([pa.table({"a": [1]})], False)).take_all()
