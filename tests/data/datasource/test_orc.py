"""ORC files."""

import pytest
from pyarrow import orc

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


def test_stripes_come_back(tmp_path, trips):
    ray.data.from_arrow(trips).write_orc(str(tmp_path / "out"), compression="zstd")
    ds = ray.data.read_orc(str(tmp_path / "out"))
    assert ds.to_pandas().equals(trips.to_pandas())
    assert ds.select_columns(["zone", "id"]).columns() == ["zone", "id"]
    with pytest.raises(KeyError, match=r"'nope'.*\['id', 'fare', 'paid', 'zone'\]"):
        ds.select_columns(["nope"]).take_all()


def test_files_without_rows_and_corrupt_ones(tmp_path, trips):
    orc.write_table(trips.slice(0, 0), tmp_path / "a.orc")
    ds = ray.data.read_orc(str(tmp_path))
    assert (ds.columns(), ds.take_all()) == (trips.column_names, [])
    (tmp_path / "bad.orc").write_bytes(b"ORCno")
    with pytest.raises(ValueError, match=r"bad\.orc' as ORC"):
        ray.data.read_orc(str(tmp_path)).take_all()
