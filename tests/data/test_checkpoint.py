"""Ray's CheckpointConfig: writes go on where a killed run stopped, as the context says."""

import os

import pytest

import heliostat as ray
from heliostat.data import DataContext
from heliostat.data.checkpoint import CheckpointBackend, CheckpointConfig

pytestmark = pytest.mark.usefixtures("inline")


def test_a_write_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(DataContext, "_current", DataContext())
    source, target = str(tmp_path / "in"), str(tmp_path / "out")
    ray.data.range(40, override_num_blocks=4).write_parquet(source)
    kept = tmp_path / "kept"
    DataContext.get_current().checkpoint_config = CheckpointConfig("id", str(kept))
    seen, broken = [], [True]

    def step(row):
        if row["id"] == 25 and broken[0]:
            raise RuntimeError("killed here")
        seen.append(row["id"])
        return row

    def write():
        ray.data.read_parquet(source, override_num_blocks=4).map(step).write_parquet(target)

    with pytest.raises(RuntimeError, match="killed here"):
        write()
    assert not os.path.exists(target)
    broken[0] = False
    seen.clear()
    write()
    assert min(seen) == 10  # of four parts the first was done by itself, the next two together
    rows = ray.data.read_parquet(target).take_all()
    assert [row["id"] for row in rows] == list(range(40))
    assert os.listdir(kept) == []


def test_rows_must_have_the_column(tmp_path, monkeypatch):
    monkeypatch.setattr(DataContext, "_current", DataContext())
    DataContext.get_current().checkpoint_config = CheckpointConfig("key", str(tmp_path / "kept"))
    with pytest.raises(KeyError, match="checkpoint_config: no column named 'key'"):
        ray.data.range(3).write_parquet(str(tmp_path / "out"))


def test_a_config_without_column_or_path_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="id_column must be the name of a column, got None"):
        CheckpointConfig()
    monkeypatch.delenv("RAY_DATA_CHECKPOINT_PATH_BUCKET", raising=False)
    with pytest.raises(ValueError, match="give a checkpoint_path"):
        CheckpointConfig("id")
    monkeypatch.setenv("RAY_DATA_CHECKPOINT_PATH_BUCKET", "/there")
    assert CheckpointConfig("id").checkpoint_path == "/there/ray_data_checkpoint"


@pytest.mark.parametrize(
    "option",
    [
        {"delete_checkpoint_on_success": False},
        {"override_backend": CheckpointBackend.CLOUD_OBJECT_STORAGE},
        {"checkpoint_path": "s3://bucket/kept"},
    ],
)
def test_what_is_not_offered_is_refused(option):
    with pytest.raises(NotImplementedError, match=f"{next(iter(option))}=.* is not offered"):
        CheckpointConfig("id", **{"checkpoint_path": "/there", **option})
