"""Tables that keep a log."""

import subprocess
import sys

import pyarrow as pa
import pytest

from heliostat.data._commit import SaveMode
from heliostat.data.block import Bundle
from heliostat.data.datasource import tables

# In a process of its own: these libraries keep threads and descriptors for as long as they live.
BOTH_WAYS = """
import sys
import heliostat as ray

kind, path = sys.argv[1:]
ray.init(engine="inline")
read, write = getattr(ray.data, f"read_{kind}"), f"write_{kind}"
ds = ray.data.range(100, override_num_blocks=5).map(lambda r: {"id": r["id"], "n": str(r["id"])})
getattr(ds, write)(path, mode="create")
back = read(path)
print(back.columns(), back.count(), len(back.take(1)), sum(r["id"] for r in back.iter_rows()))
getattr(ds.limit(10), write)(path, mode="append")
print(read(path, columns=["n"]).count(), read(path, columns=["n"]).columns())
getattr(ds.limit(3), write)(path, mode="overwrite")
print(read(path).count())
try:
    getattr(ds.map(lambda row: 1 // 0), write)(path, mode="append")
except Exception as error:
    print("failed")
print(read(path).count())
try:
    getattr(ds.map(lambda row: 1 // 0), write)(path, mode="overwrite")
except ZeroDivisionError as error:
    print("the user's own error")
getattr(ds.filter(lambda row: False), write)(path, mode="overwrite")
print(read(path).count(), read(path).columns())
getattr(ray.data.range(0), write)(path + "empty", mode="create")
print(read(path + "empty").count())
blocks = ray.data.range(3, override_num_blocks=3)
ds = blocks.map_batches(lambda b: {"x": [[None], [1.5], [2]][b["id"][0]]}, batch_size=1)
getattr(ds, write)(path + "mixed", mode="create")
print(sorted(str(row["x"]) for row in read(path + "mixed").take_all()))
try:
    read(path, columns=["nope"])
except KeyError as error:
    print("nope" in str(error))
try:
    read(path + "zz")
except (FileNotFoundError, ValueError) as error:
    print("zz" in str(error))
"""


@pytest.mark.parametrize(("kind", "package"), [("delta", "deltalake"), ("lance", "lance")])
def test_rows_go_both_ways_and_a_failed_write_leaves_the_table(tmp_path, kind, package):
    pytest.importorskip(package)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BOTH_WAYS, kind, str(tmp_path / "table")],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [
        "['id', 'n'] 100 1 4950",
        "110 ['n']",
        "3",
        "failed",
        "3",
        "the user's own error",
        "0 ['id', 'n']",
        "0",
        "['1.5', '2.0', 'None']",
        "True",
        "True",
    ]


def bundles(*blocks):
    return map(Bundle.of, blocks)


def test_a_later_block_gets_the_columns_of_the_first_ones(monkeypatch):
    monkeypatch.setattr(tables, "LOOK_BYTES", 1)
    first, second = pa.table({"a": [1.5], "b": ["x"]}), pa.table({"a": [2]})
    with tables.streamed(bundles(first, second), lambda: None, SaveMode.APPEND) as rows:
        assert rows.read_all().to_pydict() == {"a": [1.5, 2.0], "b": ["x", None]}
    for late, why in (
        (pa.table({"a": ["no"]}), "column 'a' is double in the first blocks and string in a later"),
        (pa.table({"a": [1.5], "c": [1]}), r"columns \['c'\] are in a later block only"),
    ):
        with (
            pytest.raises(ValueError, match=why),
            tables.streamed(bundles(first, late), lambda: None, SaveMode.APPEND) as rows,
        ):
            rows.read_all()


def test_an_error_of_the_library_stays_its_own():
    blocks = [Bundle.of(pa.table({"a": [number]})) for number in range(3)]

    def written():
        with tables.streamed(iter(blocks), lambda: None, SaveMode.APPEND) as reader:
            assert reader is not None
            reader.read_next_batch()
            del reader  # as a library does that cannot go on
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        written()


def test_without_rows_and_columns_only_an_append_has_nothing_to_do():
    with tables.streamed(iter(()), lambda: None, SaveMode.APPEND) as rows:
        assert rows is None
    for mode in (SaveMode.OVERWRITE, SaveMode.CREATE):
        with (
            pytest.raises(ValueError, match="without rows, whose columns nobody knows"),
            tables.streamed(iter(()), lambda: None, mode),
        ):
            pass


def test_a_missing_package_is_named():
    from heliostat.data.datasource.tables import library

    with pytest.raises(ImportError, match=r"read_zz needs zz_zz: pip install 'heliostat\[zz\]'"):
        library("zz_zz", "zz", "read_zz")
