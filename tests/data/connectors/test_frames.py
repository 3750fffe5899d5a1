"""Rows of other systems' frames, and frames of rows."""

import importlib.util
import os
import subprocess
import sys
from shutil import which

import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


# In a process of its own: they keep threads, or a Java machine, for as long as they live.
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
elif sys.argv[1] == "pyspark":
    from pyspark.sql import SparkSession
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    frame = ds.to_spark(spark)
    print(frame.count(), frame.columns, frame.agg({"id": "sum"}).collect()[0][0])
    back = ray.data.from_spark(frame.filter("id > 1"), override_num_blocks=2)
    assert ray.data.from_spark(frame.filter("id > 9")).columns() == ["id", "n"]
elif sys.argv[1] == "modin":
    frame = ds.to_modin()
    print(type(frame).__module__, list(frame.columns), frame["id"].sum())
    back = ray.data.from_modin(frame[frame["id"] > 1])
else:
    frame = ds.to_daft()
    print(frame.count_rows(), frame.column_names)
    back = ray.data.from_daft(frame.where(frame["id"] > 1))
print([row["n"] for row in back.iter_rows()])
try:
    getattr(ray.data, "from_" + sys.argv[1].removeprefix("py"))([1])
except TypeError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("dask", ["True 15 ['id', 'n']", "True ['id']"]),
        ("daft", ["6 ['id', 'n']"]),
        ("pyspark", ["6 ['id', 'n'] 15"]),
        ("modin", ["modin.pandas.dataframe ['id', 'n'] 15"]),
    ],
)
def test_rows_go_to_other_frames_and_back(package, said):
    if importlib.util.find_spec(package) is None or (package == "pyspark" and not which("java")):
        pytest.skip(f"no {package}")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", OTHERS, package],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "MODIN_ENGINE": "python", "SPARK_LOCAL_IP": "127.0.0.1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *first, rows, error = done.stdout.splitlines()
    assert first == said
    assert rows == "['2', '3', '4', '5']"
    assert error.endswith("got list")


@pytest.mark.parametrize("package", ["dask", "daft", "modin"])
def test_a_package_that_is_not_there_is_named(package, monkeypatch):
    for name in [package, *(name for name in sys.modules if name.startswith(package + "."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f"to_{package} needs {package}: pip install"):
        getattr(ray.data.range(1), f"to_{package}")()


def test_what_is_no_session_of_sparks_is_refused():
    with pytest.raises(TypeError, match="SparkSession, got str"):
        ray.data.range(1).to_spark("local")


def test_what_is_no_name_of_a_connector_is_no_attribute():
    with pytest.raises(AttributeError, match=r"'heliostat.data' has no attribute 'from_nowhere'"):
        ray.data.from_nowhere  # noqa: B018 - looked up is enough
