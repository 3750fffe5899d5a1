"""Tables that keep a log."""

import subprocess
import sys

import pytest

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
        "True",
        "True",
    ]


def test_a_missing_package_is_named():
    from heliostat.data.datasource.tables import library

    with pytest.raises(ImportError, match=r"read_zz needs zz_zz: pip install 'heliostat\[zz\]'"):
        library("zz_zz", "zz", "read_zz")
