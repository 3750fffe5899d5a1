"""All rows into other hands."""

import subprocess
import sys

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


# In a process of its own: both keep threads for as long as they live.
OTHERS = """
import sys
import heliostat as ray

ray.init(engine="inline")
ds = ray.data.range(6, override_num_blocks=3).map(lambda row: {"id": row["id"], "n": str(row["id"])})
if sys.argv[1] == "dask":
    frame = ds.to_dask()
    print(frame.npartitions > 1, frame["id"].sum().compute(), list(frame.columns))
    back = ray.data.from_dask(frame[frame["id"] > 1])
    print(back.num_blocks() == frame.npartitions, ray.data.range(0).to_dask().compute().columns.tolist())
else:
    frame = ds.to_daft()
    print(frame.count_rows(), frame.column_names)
    back = ray.data.from_daft(frame.where(frame["id"] > 1))
print([row["n"] for row in back.iter_rows()])
try:
    getattr(ray.data, "from_" + sys.argv[1])([1])
except TypeError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("package", "said"),
    [("dask", ["True 15 ['id', 'n']", "True ['id']"]), ("daft", ["6 ['id', 'n']"])],
)
def test_rows_go_to_dask_and_daft_and_back(package, said):
    pytest.importorskip(package)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", OTHERS, package],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *first, rows, error = done.stdout.splitlines()
    assert first == said
    assert rows == "['2', '3', '4', '5']"
    assert error.endswith("got list")


@pytest.mark.parametrize("package", ["dask", "daft"])
def test_a_package_that_is_not_there_is_named(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"to_{package} needs {package}: pip install"):
        getattr(ray.data.range(1), f"to_{package}")()
