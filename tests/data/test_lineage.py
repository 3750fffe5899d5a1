"""Which dataset it is, and its plan as bytes."""

import subprocess
import sys

import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


def test_a_copy_has_the_rows_and_the_name_but_another_identity():
    ds = ray.data.from_items([1, 2])
    ds.set_name("two")
    other = ds.copy()
    assert type(other) is type(ds)
    assert other.take_all() == ds.take_all()
    assert other.name == "two"
    assert other.get_dataset_id() != ds.get_dataset_id()


def test_the_identifier_counts_executions():
    ds = ray.data.range(3).map(lambda row: row)
    first = ds.get_dataset_id()
    assert first.startswith("dataset_")
    assert first.endswith("_0")
    ds.take_all()
    assert ds.get_dataset_id() == first[:-1] + "1"


def test_a_plan_without_rows_runs_in_another_process(parquet, tmp_path):
    ds = ray.data.read_parquet(parquet).filter(expr="fare > 0.5").map(lambda row: {"b": row["id"]})
    ds.set_name("fares")
    assert ds.has_serializable_lineage()
    kept = tmp_path / "kept"
    kept.write_bytes(ds.serialize_lineage())
    program = """
import sys
import heliostat as ray
ray.init(engine="inline")
ds = ray.data.Dataset.deserialize_lineage(open(sys.argv[1], "rb").read())
print(ds.name, sum(row["b"] for row in ds.iter_rows()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(kept)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == f"fares {sum(row['b'] for row in ds.iter_rows())}\n", done.stderr


def test_a_plan_with_rows_is_refused():
    for ds in (
        ray.data.from_items([1]),
        ray.data.range(3).materialize(),
        ray.data.range(3).union(ray.data.from_items([{"id": 1}])),
        ray.data.from_torch([1, 2]),
    ):
        assert not ds.map(lambda row: row).has_serializable_lineage()
        with pytest.raises(ValueError, match="holds rows of this process"):
            ds.serialize_lineage()
