"""Files that carry pickles in the metadata of extension types: nothing is ever unpickled.

GHSA-mw35-8rx3-xf9r and its variants: what registers these types with Arrow and unpickles their
metadata, or their values, runs the code of whoever wrote the file.
"""

import os
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")

NAMES = (
    "arrow.py_extension_type",
    "ray.data.arrow_tensor",
    "ray.data.arrow_tensor_v2",
    "ray.data.arrow_variable_shaped_tensor",
    "ray.data.arrow_pickled_object",
    "heliostat.ragged_tensor",
)


class Attack:
    """Makes a directory when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def payload(tmp_path):
    done = tmp_path / "done"
    yield pickle.dumps(Attack(str(done)))
    assert not done.exists()


def evil(name, payload):
    """A table whose column claims to be of an extension type, with a pickle as its metadata."""
    metadata = {b"ARROW:extension:name": name.encode(), b"ARROW:extension:metadata": payload}
    field = pa.field("x", pa.binary(), metadata=metadata)
    return pa.table([[payload, payload]], schema=pa.schema([field]))


# Older Arrow says that it does not unpickle, which is what is wanted.
@pytest.mark.filterwarnings("ignore:pickle-based deserialization:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:pyarrow.PyExtensionType is deprecated:FutureWarning")
@pytest.mark.parametrize("name", NAMES)
def test_metadata_of_extension_types_is_never_unpickled(tmp_path, name, payload):
    pq.write_table(evil(name, payload), tmp_path / "evil.parquet")
    try:
        ds = ray.data.read_parquet(str(tmp_path / "evil.parquet"))
        rows = ds.map(lambda row: row).take_all()
    except (ValueError, OSError):
        return  # refused
    assert [row["x"] for row in rows] == [payload, payload]


@pytest.mark.parametrize("name", NAMES)
def test_nor_is_that_of_a_schema_in_the_footer(tmp_path, name, payload):
    schema = evil(name, payload).schema.with_metadata({b"pandas": payload, b"ARROW:schema": b"x"})
    table = pa.table([[payload]], schema=schema)
    pq.write_table(table, tmp_path / "evil.parquet")
    try:
        frame = ray.data.read_parquet(str(tmp_path / "evil.parquet")).to_pandas()
    except (ValueError, OSError):
        return
    assert frame["x"].tolist() == [payload]


def test_values_that_are_pickles_stay_bytes(tmp_path, payload):
    table = pa.table({"x": [payload]})
    orc.write_table(table, tmp_path / "evil.orc")
    pq.write_table(table, tmp_path / "evil.parquet")
    for read, name in ((ray.data.read_orc, "orc"), (ray.data.read_parquet, "parquet")):
        assert read(str(tmp_path / f"evil.{name}")).take_all() == [{"x": payload}]
    (tmp_path / "evil.bin").write_bytes(payload)
    assert ray.data.read_binary_files(str(tmp_path / "evil.bin")).take(1)[0]["bytes"] == payload
